#include "extensions/common/proto_tracing.h"

#include <cstdlib>

#include "core/ascii.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/type/tracing/v3/custom_tag.pb.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_matchers.h"

namespace sluice::extensions {
namespace {

using Tag = envoy::type::tracing::v3::CustomTag;
using Kind = model::CustomTag::Kind;

Result<model::CustomTag> to_metadata_tag(const Tag::Metadata& in, const std::string& path) {
  model::CustomTag out{.text = in.default_value()};
  out.name = in.metadata_key().key();
  if (in.kind().has_request()) {
    out.kind = Kind::request_metadata;
    for (const auto& segment : in.metadata_key().path()) out.path.push_back(segment.key());
    return out;
  }
  if (!in.kind().has_route())
    return Error{path + ".kind: this version of Sluice has the kinds request and route"};
  out.kind = Kind::route_metadata;
  if (out.name.find(':') != std::string::npos)
    return Error{path + ".metadata_key.key: a name with a colon is not supported"};
  for (int i = 0; i < in.metadata_key().path_size(); ++i) {
    const std::string& key = in.metadata_key().path(i).key();
    if (key.find(':') != std::string::npos)
      return Error{path + ".metadata_key.path[" + std::to_string(i) +
                   "].key: a key with a colon is not supported"};
    out.name += ':' + key;
  }
  return out;
}

Result<model::CustomTag> to_custom_tag(const Tag& in, const std::string& path) {
  model::CustomTag out;
  switch (in.type_case()) {
    case Tag::kLiteral:
      out.text = in.literal().value();
      break;
    case Tag::kEnvironment: {
      const char* value = std::getenv(in.environment().name().c_str());
      out.text = value != nullptr ? value : in.environment().default_value();
      break;
    }
    case Tag::kRequestHeader:
      out.kind = Kind::request_header;
      out.name = to_lower(in.request_header().name());
      out.text = in.request_header().default_value();
      break;
    case Tag::kMetadata: {
      SLUICE_ASSIGN(out, to_metadata_tag(in.metadata(), path + ".metadata"));
      break;
    }
    case Tag::kValue: {
      SLUICE_ASSIGN(out.formatter, to_operation(in.value(), path + ".value"));
      out.kind = Kind::format;
      break;
    }
    case Tag::TYPE_NOT_SET:
      return Error{path + ": one of literal, environment, request_header, metadata, value is needed"};
  }
  out.tag = in.tag();
  return out;
}

model::Fraction sampling(bool has, const envoy::type::v3::FractionalPercent& in) {
  return has ? to_fraction(in) : model::Fraction{100, 100};
}

}  // namespace

Result<std::shared_ptr<const model::HeaderFormatter>> to_operation(const std::string& format,
                                                                   std::string_view path) {
  if (format.empty()) return std::shared_ptr<const model::HeaderFormatter>();
  auto made = make_header_formatter(format);
  if (!made.ok()) return Error{std::string(path) + ": " + made.error().message};
  return made;
}

Result<std::vector<model::CustomTag>> to_custom_tags(const google::protobuf::RepeatedPtrField<Tag>& in,
                                                     std::string_view path) {
  std::vector<model::CustomTag> out;
  for (int i = 0; i < in.size(); ++i) {
    SLUICE_ASSIGN(auto tag, to_custom_tag(in[i], std::string(path) + "[" + std::to_string(i) + "]"));
    out.push_back(std::move(tag));
  }
  return out;
}

Result<std::shared_ptr<const model::RouteTracing>> to_route_tracing(
    const envoy::config::route::v3::Tracing& in, std::string_view at) {
  const std::string path(at);
  auto out = std::make_shared<model::RouteTracing>();
  out->sampling = {sampling(in.has_client_sampling(), in.client_sampling()),
                   sampling(in.has_random_sampling(), in.random_sampling()),
                   sampling(in.has_overall_sampling(), in.overall_sampling())};
  SLUICE_ASSIGN(out->tags, to_custom_tags(in.custom_tags(), path + ".custom_tags"));
  SLUICE_ASSIGN(out->operation, to_operation(in.operation(), path + ".operation"));
  SLUICE_ASSIGN(out->upstream_operation, to_operation(in.upstream_operation(), path + ".upstream_operation"));
  return std::shared_ptr<const model::RouteTracing>(std::move(out));
}

}  // namespace sluice::extensions
