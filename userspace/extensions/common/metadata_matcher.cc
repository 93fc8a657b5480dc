#include "extensions/common/metadata_matcher.h"

#include <algorithm>

#include "model/metadata.h"

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

bool MetadataMatcher::matches(const ext::Metadata* metadata) const {
  const std::optional<Json> found = model::metadata_value(metadata, filter, path);
  return value.matches(found ? &*found : nullptr) != invert;
}

}  // namespace sluice::extensions
