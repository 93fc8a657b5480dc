#include "config/translate_metadata.h"

#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <string>

#include "config/print.h"
#include "envoy/config/core/v3/base.pb.h"

namespace sluice::config {

namespace pb = google::protobuf;
using Criteria = ext::MetadataMatch::Criteria;

namespace {

const pb::Struct* load_balancing(const envoy::config::core::v3::Metadata& in,
                                 std::string_view filter = "envoy.lb") {
  const auto found = in.filter_metadata().find(std::string(filter));
  return found == in.filter_metadata().end() ? nullptr : &found->second;
}

// Equal values have equal texts: members of a struct are sorted.
std::string text_of(const pb::Value& value) {
  return to_json(value, {.pretty = false});
}

void merge(const pb::Struct& from, pb::Struct& to) {
  for (const auto& [key, value] : from.fields()) (*to.mutable_fields())[key] = value;
}

ext::MetadataMatch to_match(const pb::Struct& fields) {
  ext::MetadataMatch out;
  out.criteria = to_criteria(fields);
  const auto list = fields.fields().find("fallback_list");
  if (list == fields.fields().end()) return out;
  pb::Struct others = fields;
  others.mutable_fields()->erase("fallback_list");
  out.fallbacks.emplace();
  // What is no list is an empty one, what is no struct an empty one too: Envoy's reading.
  for (const pb::Value& value : list->second.list_value().values()) {
    pb::Struct one = others;
    merge(value.struct_value(), one);
    out.fallbacks->push_back(to_criteria(one));
  }
  if (out.fallbacks->empty()) out.fallbacks->push_back(to_criteria(others));
  return out;
}

}  // namespace

Criteria to_criteria(const pb::Struct& in) {
  Criteria out;
  for (const auto& [key, value] : in.fields()) out.emplace_back(key, text_of(value));
  std::ranges::sort(out);
  return out;
}

ext::MetadataMatch to_metadata_match(const envoy::config::core::v3::Metadata& in) {
  const pb::Struct* fields = load_balancing(in);
  return fields == nullptr ? ext::MetadataMatch{} : to_match(*fields);
}

ext::MetadataMatch to_metadata_match(const envoy::config::core::v3::Metadata& in,
                                     const envoy::config::core::v3::Metadata& outer) {
  const pb::Struct* fields = load_balancing(in);
  const pb::Struct* base = load_balancing(outer);
  if (fields == nullptr || base == nullptr) return to_metadata_match(fields == nullptr ? outer : in);
  pb::Struct both = *base;
  merge(*fields, both);
  return to_match(both);
}

void add_metadata(const envoy::config::core::v3::Metadata& in, model::Endpoint& out) {
  out.lb_metadata = to_lb_metadata(in);
  out.transport_metadata = to_lb_metadata(in, "envoy.transport_socket_match");
  if (auto lb = in.filter_metadata().find("envoy.lb"); lb != in.filter_metadata().end()) {
    const auto& fields = lb->second.fields();
    if (auto f = fields.find("canary"); f != fields.end()) out.canary = f->second.bool_value();
    if (auto f = fields.find("hash_key"); f != fields.end()) out.hash_key = f->second.string_value();
  }
}

std::shared_ptr<const model::LbMetadata> to_lb_metadata(const envoy::config::core::v3::Metadata& in,
                                                        std::string_view filter) {
  const pb::Struct* fields = load_balancing(in, filter);
  if (fields == nullptr || fields->fields().empty()) return nullptr;
  auto out = std::make_shared<model::LbMetadata>();
  for (const auto& [key, value] : fields->fields()) {
    model::LbMetadata::Field& f = out->fields.emplace_back();
    f.key = key;
    f.value = text_of(value);
    f.list = value.kind_case() == pb::Value::kListValue;
    for (const pb::Value& element : value.list_value().values()) f.elements.push_back(text_of(element));
  }
  std::ranges::sort(out->fields, {}, &model::LbMetadata::Field::key);
  return out;
}

}  // namespace sluice::config
