// Rules of numbers, enums, durations, timestamps, Any and wrappers.
#include "config/rules.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <algorithm>
#include <chrono>
#include <compare>
#include <concepts>
#include <sstream>
#include <tuple>

#include "config/protos.h"

namespace sluice::config::rules {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

namespace {

template <typename T>
  requires std::integral<T> || std::floating_point<T>
std::string text(T value) {
  std::ostringstream out;
  out << +value;
  return out.str();
}

// Seconds and nanoseconds, ordered; what Duration and Timestamp are.
using Instant = std::tuple<int64_t, int32_t>;
Instant instant(const pb::Duration& d) {
  return {d.seconds(), d.nanos()};
}
Instant instant(const pb::Timestamp& t) {
  return {t.seconds(), t.nanos()};
}
std::string text(Instant value) {
  auto [seconds, nanos] = value;
  const bool negative = seconds < 0 || nanos < 0;
  std::string out = (negative ? "-" : "") + std::to_string(std::abs(seconds));
  if (nanos != 0) {
    std::string digits = std::to_string(std::abs(nanos));
    digits.insert(0, 9 - digits.size(), '0');
    digits.erase(digits.find_last_not_of('0') + 1);
    out += "." + digits;
  }
  return out + "s";
}

template <typename T>
T plain(T value) {
  return value;
}
Instant plain(const pb::Duration& d) {
  return instant(d);
}
Instant plain(const pb::Timestamp& t) {
  return instant(t);
}

// lt, lte, gt, gte: a range, or, where the lower bound is above the upper, what is outside it.
template <typename Rules, typename T>
std::string check_range(const Rules& r, T value) {
  const bool upper = r.has_lt() || r.has_lte(), lower = r.has_gt() || r.has_gte();
  if (!upper && !lower) return "";
  const T high = r.has_lt() ? T(plain(r.lt())) : T(plain(r.lte()));
  const T low = r.has_gt() ? T(plain(r.gt())) : T(plain(r.gte()));
  const bool below = r.has_lt() ? value < high : value <= high;
  const bool above = r.has_gt() ? value > low : value >= low;
  if (upper && lower) {
    const bool outside = high < low;
    if (outside ? below || above : below && above) return "";
    const std::string range =
        std::string(r.has_gt() ? "(" : "[") + text(low) + ", " + text(high) + (r.has_lt() ? ")" : "]");
    const std::string gap =
        std::string(r.has_lt() ? "[" : "(") + text(high) + ", " + text(low) + (r.has_gt() ? "]" : ")");
    return outside ? "value must be outside range " + gap : "value must be inside range " + range;
  }
  if (upper && !below)
    return std::string("value must be less than ") + (r.has_lt() ? "" : "or equal to ") + text(high);
  if (lower && !above)
    return std::string("value must be greater than ") + (r.has_gt() ? "" : "or equal to ") + text(low);
  return "";
}

template <typename List>
std::string list_text(const List& list) {
  std::string out = "[";
  for (const auto& item : list) out += (out.size() > 1 ? ", " : "") + text(plain(item));
  return out + "]";
}

template <typename Rules, typename T>
std::string check_lists(const Rules& r, T value) {
  auto in = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(), [&](const auto& item) { return T(plain(item)) == value; });
  };
  if (r.in_size() > 0 && !in(r.in())) return "value must be in list " + list_text(r.in());
  if (r.not_in_size() > 0 && in(r.not_in())) return "value must not be in list " + list_text(r.not_in());
  return "";
}

template <typename Rules, typename T>
std::string check_number(const Rules& r, T value) {
  if (r.ignore_empty() && value == T{}) return "";
  if (r.has_const_() && value != r.const_()) return "value must equal " + text(r.const_());
  if (std::string wrong = check_range(r, value); !wrong.empty()) return wrong;
  return check_lists(r, value);
}

std::string check_enum(const validate::EnumRules& r, const pb::EnumDescriptor& type, int value) {
  if (r.has_const_() && value != r.const_()) return "value must equal " + text(r.const_());
  if (r.defined_only() && type.FindValueByNumber(value) == nullptr)
    return "value must be one of the defined enum values";
  return check_lists(r, value);
}

std::string check_duration(const validate::DurationRules& r, const pb::Duration& d) {
  if (d.seconds() < -315'576'000'000 || d.seconds() > 315'576'000'000 || d.nanos() <= -1'000'000'000 ||
      d.nanos() >= 1'000'000'000 || (d.seconds() > 0 && d.nanos() < 0) || (d.seconds() < 0 && d.nanos() > 0))
    return "value is not a valid duration";
  const Instant value = instant(d);
  if (r.has_const_() && value != instant(r.const_())) return "value must equal " + text(instant(r.const_()));
  if (std::string wrong = check_range(r, value); !wrong.empty()) return wrong;
  // Envoy, when it turns a duration into milliseconds; the bound is what nanoseconds in 64 bits can hold.
  if (value < Instant{0, 0}) return "Invalid duration: expected a positive duration, not " + text(value);
  if (d.seconds() > 9'223'372'035) return "Invalid duration: out of range";
  return check_lists(r, value);
}

std::string check_timestamp(const validate::TimestampRules& r, const pb::Timestamp& t) {
  const Instant value = instant(t);
  if (r.has_const_() && value != instant(r.const_())) return "value must equal " + text(instant(r.const_()));
  if (std::string wrong = check_range(r, value); !wrong.empty()) return wrong;
  if (!r.has_lt_now() && !r.has_gt_now() && !r.has_within()) return "";
  // check-allow: the rule speaks of now, once, while loading
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(since);
  const Instant now{whole.count(), static_cast<int32_t>(std::chrono::nanoseconds(since - whole).count())};
  if (r.lt_now() && !(value < now)) return "value must be less than now";
  if (r.gt_now() && !(value > now)) return "value must be greater than now";
  if (r.has_within()) {
    const double distance = static_cast<double>(std::get<0>(value) - std::get<0>(now)) +
                            static_cast<double>(std::get<1>(value) - std::get<1>(now)) / 1e9;
    const double allowed = static_cast<double>(r.within().seconds()) + r.within().nanos() / 1e9;
    if (std::abs(distance) > allowed) return "value must be within " + text(instant(r.within())) + " of now";
  }
  return "";
}

// Whether the rules want a singular message field to be there.
bool wants_presence(const validate::FieldRules& rules) {
  return rules.message().required() || rules.duration().required() || rules.timestamp().required() ||
         rules.any().required();
}

std::string check_any(const validate::AnyRules& r, const pb::Any& any) {
  auto in = [&](const auto& list) {
    return std::find(list.begin(), list.end(), any.type_url()) != list.end();
  };
  if (r.in_size() > 0 && !in(r.in())) return "type URL must be in list";
  if (r.not_in_size() > 0 && in(r.not_in())) return "type URL must not be in list";
  return "";
}

}  // namespace

std::string check_scalar(const validate::FieldRules& rules, const pb::Message& m, const Field& f, int index) {
  const pb::Reflection& r = *m.GetReflection();
  const bool list = index >= 0;
  using R = validate::FieldRules;
  // The kind of rules belongs to the kind of field; several (int32, sint32, sfixed32) share a C++ type.
  switch (f.cpp_type()) {
    case Field::CPPTYPE_INT32: {
      const int32_t v = list ? r.GetRepeatedInt32(m, &f, index) : r.GetInt32(m, &f);
      if (rules.type_case() == R::kInt32) return check_number(rules.int32(), v);
      if (rules.type_case() == R::kSint32) return check_number(rules.sint32(), v);
      return rules.type_case() == R::kSfixed32 ? check_number(rules.sfixed32(), v) : "";
    }
    case Field::CPPTYPE_INT64: {
      const int64_t v = list ? r.GetRepeatedInt64(m, &f, index) : r.GetInt64(m, &f);
      if (rules.type_case() == R::kInt64) return check_number(rules.int64(), v);
      if (rules.type_case() == R::kSint64) return check_number(rules.sint64(), v);
      return rules.type_case() == R::kSfixed64 ? check_number(rules.sfixed64(), v) : "";
    }
    case Field::CPPTYPE_UINT32: {
      const uint32_t v = list ? r.GetRepeatedUInt32(m, &f, index) : r.GetUInt32(m, &f);
      if (rules.type_case() == R::kUint32) return check_number(rules.uint32(), v);
      return rules.type_case() == R::kFixed32 ? check_number(rules.fixed32(), v) : "";
    }
    case Field::CPPTYPE_UINT64: {
      const uint64_t v = list ? r.GetRepeatedUInt64(m, &f, index) : r.GetUInt64(m, &f);
      if (rules.type_case() == R::kUint64) return check_number(rules.uint64(), v);
      return rules.type_case() == R::kFixed64 ? check_number(rules.fixed64(), v) : "";
    }
    case Field::CPPTYPE_FLOAT:
      return rules.has_float_()
                 ? check_number(rules.float_(), list ? r.GetRepeatedFloat(m, &f, index) : r.GetFloat(m, &f))
                 : "";
    case Field::CPPTYPE_DOUBLE:
      return rules.has_double_() ? check_number(rules.double_(),
                                                list ? r.GetRepeatedDouble(m, &f, index) : r.GetDouble(m, &f))
                                 : "";
    case Field::CPPTYPE_BOOL: {
      const bool v = list ? r.GetRepeatedBool(m, &f, index) : r.GetBool(m, &f);
      if (!rules.has_bool_() || !rules.bool_().has_const_() || v == rules.bool_().const_()) return "";
      return std::string("value must equal ") + (rules.bool_().const_() ? "true" : "false");
    }
    case Field::CPPTYPE_ENUM:
      return rules.has_enum_()
                 ? check_enum(rules.enum_(), *f.enum_type(),
                              list ? r.GetRepeatedEnumValue(m, &f, index) : r.GetEnumValue(m, &f))
                 : "";
    case Field::CPPTYPE_STRING: {
      std::string buffer;
      const std::string& v =
          list ? r.GetRepeatedStringReference(m, &f, index, &buffer) : r.GetStringReference(m, &f, &buffer);
      if (rules.has_string()) return check_string(rules.string(), v);
      return rules.has_bytes() ? check_bytes(rules.bytes(), v) : "";
    }
    case Field::CPPTYPE_MESSAGE:
      break;
  }
  return "";
}

std::string check_well_known(const validate::FieldRules& rules, const pb::Message& value) {
  using D = pb::Descriptor;
  const D& type = *value.GetDescriptor();
  switch (type.well_known_type()) {
    case D::WELLKNOWNTYPE_DURATION:
      return check_duration(rules.duration(), static_cast<const pb::Duration&>(value));
    case D::WELLKNOWNTYPE_TIMESTAMP:
      return check_timestamp(rules.timestamp(), static_cast<const pb::Timestamp&>(value));
    case D::WELLKNOWNTYPE_ANY:
      return check_any(rules.any(), static_cast<const pb::Any&>(value));
    case D::WELLKNOWNTYPE_DOUBLEVALUE:
    case D::WELLKNOWNTYPE_FLOATVALUE:
    case D::WELLKNOWNTYPE_INT64VALUE:
    case D::WELLKNOWNTYPE_UINT64VALUE:
    case D::WELLKNOWNTYPE_INT32VALUE:
    case D::WELLKNOWNTYPE_UINT32VALUE:
    case D::WELLKNOWNTYPE_STRINGVALUE:
    case D::WELLKNOWNTYPE_BYTESVALUE:
    case D::WELLKNOWNTYPE_BOOLVALUE:
      return check_scalar(rules, value, *type.field(0), -1);
    default:
      return "";
  }
}

std::string at_least(uint64_t count, const char* what) {
  return "value must contain at least " + std::to_string(count) + " " + what;
}

const validate::FieldRules* of(const Field& f) {
  return f.options().HasExtension(validate::rules) ? &f.options().GetExtension(validate::rules) : nullptr;
}

std::string check_absent(const validate::FieldRules* rules, const Field& f) {
  if (rules == nullptr) return "";
  if (f.is_map()) {
    const auto& map = rules->map();
    return map.min_pairs() > 0 && !map.ignore_empty() ? at_least(map.min_pairs(), "pair(s)") : "";
  }
  if (f.is_repeated()) {
    const auto& repeated = rules->repeated();
    return repeated.min_items() > 0 && !repeated.ignore_empty() ? at_least(repeated.min_items(), "item(s)")
                                                                : "";
  }
  if (f.cpp_type() == Field::CPPTYPE_MESSAGE) {
    // In a oneof "required" speaks of the case that is chosen, not of the choice.
    const bool required = wants_presence(*rules) && f.real_containing_oneof() == nullptr;
    return required ? "value is required" : "";
  }
  // A scalar that can be absent (in a oneof, or optional) is checked where it is set, any other always.
  return f.has_presence() ? "" : check_scalar(*rules, prototype(*f.containing_type()), f, -1);
}

}  // namespace sluice::config::rules
