#include "extensions/common/metadata_matcher.h"

#include <algorithm>

namespace sluice::extensions {

bool ValueMatcher::matches(const Json* value) const {
  if (kind == Kind::any_of)
    return std::ranges::any_of(values, [&](const ValueMatcher& m) { return m.matches(value); });
  if (value == nullptr) return false;
  const Json::Type type = value->type();
  switch (kind) {
    case Kind::null:
      return type == Json::Type::null;
    case Kind::number: {
      if (type != Json::Type::integer && type != Json::Type::number) return false;
      const double number = value->as_double();
      return exact ? number == begin : begin <= number && number < end;
    }
    case Kind::string:
      return type == Json::Type::string && string.matches(value->as_string());
    case Kind::boolean:
      return type == Json::Type::boolean && value->as_bool() == expected;
    case Kind::present:
      return expected;
    case Kind::list:
      return type == Json::Type::array && !values.empty() &&
             std::ranges::any_of(value->items(), [&](const Json& v) { return values.front().matches(&v); });
    case Kind::any_of:
      break;
  }
  return false;
}

std::optional<Json> metadata_value(const ext::Metadata* metadata, std::string_view filter,
                                   const std::vector<std::string>& path) {
  if (metadata == nullptr) return {};
  const auto fields = metadata->find(filter);
  if (fields == metadata->end()) return {};
  const auto field = fields->second.find(path.front());
  if (field == fields->second.end()) return {};
  auto json = Json::parse(field->second);
  if (!json.ok()) return {};
  const Json* at = &*json;
  for (size_t i = 1; i < path.size(); ++i) {
    if (!at->is_object() || !at->has(path[i])) return {};
    at = &(*at)[path[i]];
  }
  return at == &*json ? std::move(json).value() : Json(*at);
}

bool MetadataMatcher::matches(const ext::Metadata* metadata) const {
  const std::optional<Json> found = metadata_value(metadata, filter, path);
  return value.matches(found ? &*found : nullptr) != invert;
}

}  // namespace sluice::extensions
