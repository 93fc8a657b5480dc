#include "extensions/common/proto_rate_limit.h"

#include "core/ascii.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_matchers.h"

namespace sluice::extensions {

namespace {

using Proto = envoy::config::route::v3::RateLimit;
using model::RateLimitAction;
using Kind = RateLimitAction::Kind;

std::string or_default(const std::string& key, const char* otherwise) {
  return key.empty() ? otherwise : key;
}

// A value with operators would be one value for all requests.
Result<std::string> to_value(const std::string& value, const std::string& path) {
  if (value.find('%') == std::string::npos) return value;
  return Error{path +
               ".descriptor_value: operators (%...%) are not supported by this version of Sluice; "
               "use request_headers"};
}

Result<RateLimitAction> to_action(const Proto::Action& in, const std::string& path) {
  RateLimitAction out;
  switch (in.action_specifier_case()) {
    case Proto::Action::kSourceCluster:
      out.kind = Kind::source_cluster;
      out.key = "source_cluster";
      return out;
    case Proto::Action::kDestinationCluster:
      out.kind = Kind::destination_cluster;
      out.key = "destination_cluster";
      return out;
    case Proto::Action::kRequestHeaders:
      out.kind = Kind::request_header;
      out.key = in.request_headers().descriptor_key();
      out.name = to_lower(in.request_headers().header_name());
      out.skip_if_absent = in.request_headers().skip_if_absent();
      return out;
    case Proto::Action::kQueryParameters:
      out.kind = Kind::query_parameter;
      out.key = in.query_parameters().descriptor_key();
      out.name = in.query_parameters().query_parameter_name();
      out.skip_if_absent = in.query_parameters().skip_if_absent();
      return out;
    case Proto::Action::kRemoteAddress:
      out.kind = Kind::remote_address;
      out.key = "remote_address";
      return out;
    case Proto::Action::kMaskedRemoteAddress: {
      const auto& masked = in.masked_remote_address();
      out.kind = Kind::masked_remote_address;
      out.key = "masked_remote_address";
      if (masked.has_v4_prefix_mask_len()) out.v4_prefix = masked.v4_prefix_mask_len().value();
      if (masked.has_v6_prefix_mask_len()) out.v6_prefix = masked.v6_prefix_mask_len().value();
      return out;
    }
    case Proto::Action::kGenericKey: {
      out.key = or_default(in.generic_key().descriptor_key(), "generic_key");
      SLUICE_ASSIGN(out.value, to_value(in.generic_key().descriptor_value(), path + ".generic_key"));
      return out;
    }
    case Proto::Action::kHeaderValueMatch: {
      const auto& match = in.header_value_match();
      const std::string at = path + ".header_value_match";
      out.kind = Kind::header_value_match;
      out.key = or_default(match.descriptor_key(), "header_match");
      SLUICE_ASSIGN(out.value, to_value(match.descriptor_value(), at));
      out.expect_match = !match.has_expect_match() || match.expect_match().value();
      SLUICE_ASSIGN(out.headers, to_header_matchers(match.headers(), at + ".headers"));
      return out;
    }
    case Proto::Action::kQueryParameterValueMatch: {
      const auto& match = in.query_parameter_value_match();
      const std::string at = path + ".query_parameter_value_match";
      out.kind = Kind::query_parameter_value_match;
      out.key = or_default(match.descriptor_key(), "query_match");
      SLUICE_ASSIGN(out.value, to_value(match.descriptor_value(), at));
      out.expect_match = !match.has_expect_match() || match.expect_match().value();
      for (int i = 0; i < match.query_parameters_size(); ++i) {
        SLUICE_ASSIGN(auto made, to_query_matcher(match.query_parameters(i),
                                                  at + ".query_parameters[" + std::to_string(i) + "]"));
        out.query.push_back(std::move(made));
      }
      return out;
    }
    case Proto::Action::kMetadata: {
      const auto& metadata = in.metadata();
      const std::string at = path + ".metadata";
      if (metadata.source() != Proto::Action::MetaData::DYNAMIC)
        return Error{at + ".source: only dynamic metadata is supported by this version of Sluice"};
      out.kind = Kind::metadata;
      out.key = metadata.descriptor_key();
      out.value = metadata.default_value();
      out.name = metadata.metadata_key().key();
      for (const auto& segment : metadata.metadata_key().path()) out.path.push_back(segment.key());
      out.skip_if_absent = metadata.skip_if_absent();
      return out;
    }
    default:
      return Error{path +
                   ": is not an action that this version of Sluice has; it has source_cluster, "
                   "destination_cluster, request_headers, query_parameters, remote_address, "
                   "masked_remote_address, generic_key, header_value_match, query_parameter_value_match and "
                   "metadata"};
  }
}

Status add_hits(const Proto::HitsAddend& in, const std::string& path, model::RateLimit& out) {
  if (in.has_number() == !in.format().empty())
    return Error{path + ": hits_addend must contain either a format or a number"};
  if (!in.has_number())
    return Error{path + ".format: is not supported by this version of Sluice; give a number"};
  out.hits = static_cast<uint32_t>(in.number().value());  // 1,000,000,000 at most
  return {};
}

Result<std::vector<model::RateLimit>> convert(const google::protobuf::RepeatedPtrField<Proto>& in, bool own,
                                              const std::string& path) {
  std::vector<model::RateLimit> out;
  for (int i = 0; i < in.size(); ++i) {
    const std::string at = path + "[" + std::to_string(i) + "]";
    model::RateLimit limit;
    limit.stage = in[i].stage().value();
    if (own && (in[i].has_stage() || !in[i].disable_key().empty()))
      return Error{
          at + (in[i].has_stage() ? ".stage" : ".disable_key") +
          ": 'stage' field and 'disable_key' field are not supported in the filter's own rate_limits"};
    if (in[i].has_hits_addend()) {
      if (!own) return Error{at + ".hits_addend: has no effect but in the filter's own rate_limits"};
      SLUICE_TRY(add_hits(in[i].hits_addend(), at + ".hits_addend", limit));
    }
    for (int k = 0; k < in[i].actions_size(); ++k) {
      SLUICE_ASSIGN(auto action, to_action(in[i].actions(k), at + ".actions[" + std::to_string(k) + "]"));
      limit.actions.push_back(std::move(action));
    }
    if (in[i].disable_key().empty()) out.push_back(std::move(limit));
  }
  return out;
}

}  // namespace

Result<std::vector<model::RateLimit>> to_rate_limits(const google::protobuf::RepeatedPtrField<Proto>& in,
                                                     const std::string& path) {
  return convert(in, false, path);
}

Result<std::vector<model::RateLimit>> to_own_rate_limits(const google::protobuf::RepeatedPtrField<Proto>& in,
                                                         const std::string& path) {
  return convert(in, true, path);
}

}  // namespace sluice::extensions
