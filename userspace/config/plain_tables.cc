#include "config/plain_tables.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "config/honoured.h"
#include "config/protos.h"
#include "config/rules.h"

namespace sluice::config::plain {

namespace pb = google::protobuf;
using Descriptor = pb::Descriptor;
using FieldType = pb::FieldDescriptor;
using Rules = validate::FieldRules;

namespace {

constexpr uint64_t kSign = uint64_t{1} << 63;
constexpr uint64_t kSecond = 1'000'000'000;  // ns
constexpr uint64_t kMaxSeconds = 9'223'372'035;  // of a duration: rules.cc

// Rules but for the bounds that all numbers and durations can have.
template <typename R>
bool only_bounds(R rules) {
  rules.clear_lt();
  rules.clear_lte();
  rules.clear_gt();
  rules.clear_gte();
  if constexpr (requires { rules.clear_ignore_empty(); }) rules.clear_ignore_empty();
  if constexpr (requires { rules.clear_required(); }) rules.clear_required();
  return rules.ByteSizeLong() == 0;
}

uint64_t key(uint64_t value) {
  return value;
}
uint64_t key(int64_t value) {
  return static_cast<uint64_t>(value) ^ kSign;
}

// An integer of type T.
template <typename T, typename R>
bool integer(const R* rules, Value& out) {
  using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
  out.kind = Kind::integer;
  out.flip = std::is_signed_v<T> ? kSign : 0;
  out.low = key(Wide{std::numeric_limits<T>::min()});
  out.high = key(Wide{std::numeric_limits<T>::max()});
  if (rules == nullptr) return true;
  if (!only_bounds(*rules)) return false;
  const bool above = rules->has_gt(), below = rules->has_lt();
  if ((above && rules->gt() == std::numeric_limits<T>::max()) ||
      (below && rules->lt() == std::numeric_limits<T>::min()))
    return false;
  if (above || rules->has_gte()) out.low = key(Wide{above ? rules->gt() : rules->gte()}) + above;
  if (below || rules->has_lte()) out.high = key(Wide{below ? rules->lt() : rules->lte()}) - below;
  out.zero_too = rules->ignore_empty();
  return out.low <= out.high;  // otherwise they are meant to be outside
}

template <typename T, typename R>
bool real(const R* rules, Kind bare, Kind bounded, Value& out) {
  out.kind = bare;
  if (rules == nullptr) return true;
  if (!only_bounds(*rules)) return false;
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  T low = -kInfinity, high = kInfinity;
  if (rules->has_gt())
    low = std::nextafter(rules->gt(), kInfinity);
  else if (rules->has_gte())
    low = rules->gte();
  if (rules->has_lt())
    high = std::nextafter(rules->lt(), -kInfinity);
  else if (rules->has_lte())
    high = rules->lte();
  out.kind = bounded;
  out.low_real = low;
  out.high_real = high;
  out.zero_too = rules->ignore_empty();
  return low <= high;
}

// Rules for numbers of one kind; null where there are none. False: they are for another kind.
template <typename R>
bool rules_for(const Rules* rules, Rules::TypeCase kind, const R& (Rules::*get)() const, const R*& out) {
  out = nullptr;
  if (rules == nullptr || rules->type_case() == Rules::TYPE_NOT_SET) return true;
  if (rules->type_case() != kind) return false;
  out = &(rules->*get)();
  return true;
}

bool no_rules(const Rules* rules) {
  return rules == nullptr || rules->type_case() == Rules::TYPE_NOT_SET;
}

bool text(const Rules* rules, Value& out) {
  out.kind = Kind::text;
  if (no_rules(rules)) return true;
  if (!rules->has_string()) return false;
  const validate::StringRules& r = rules->string();
  out.kind = Kind::odd_text;
  out.rules = &r;
  auto odd = r;
  odd.clear_len();
  odd.clear_len_bytes();
  odd.clear_min_len();
  odd.clear_max_len();
  odd.clear_min_bytes();
  odd.clear_max_bytes();
  odd.clear_well_known_regex();
  odd.clear_strict();
  odd.clear_ignore_empty();
  if (odd.ByteSizeLong() != 0) return true;
  out.low = 0;
  out.high = UINT64_MAX;
  auto bound = [&](bool has, uint64_t low, uint64_t high) {
    if (!has) return;
    out.low = std::max(out.low, low);
    out.high = std::min(out.high, high);
  };
  // Of ASCII every character is a byte.
  bound(r.has_len(), r.len(), r.len());
  bound(r.has_len_bytes(), r.len_bytes(), r.len_bytes());
  bound(r.has_min_len(), r.min_len(), UINT64_MAX);
  bound(r.has_max_len(), 0, r.max_len());
  bound(r.has_min_bytes(), r.min_bytes(), UINT64_MAX);
  bound(r.has_max_bytes(), 0, r.max_bytes());
  const bool strict = !r.has_strict() || r.strict();
  switch (r.well_known_regex()) {
    case validate::UNKNOWN:
      break;
    case validate::HTTP_HEADER_NAME:
      out.chars = strict ? Chars::header_name : Chars::no_line_end;
      break;
    case validate::HTTP_HEADER_VALUE:
      if (strict) return true;
      out.chars = Chars::no_line_end;
      break;
    default:
      return true;
  }
  out.zero_too = r.ignore_empty();
  out.kind = Kind::ruled_text;
  return true;
}

bool octets(const Rules* rules, Value& out) {
  out.kind = Kind::octets;
  if (no_rules(rules)) return true;
  if (!rules->has_bytes()) return false;
  const validate::BytesRules& r = rules->bytes();
  auto odd = r;
  odd.clear_min_len();
  odd.clear_max_len();
  odd.clear_ignore_empty();
  if (odd.ByteSizeLong() != 0) return false;
  out.low = r.min_len();
  if (r.has_max_len()) out.high = r.max_len();
  out.zero_too = r.ignore_empty();
  return true;
}

bool in_nanoseconds(const pb::Duration& d, uint64_t& out) {
  if (d.seconds() < 0 || static_cast<uint64_t>(d.seconds()) > kMaxSeconds || d.nanos() < 0) return false;
  out = static_cast<uint64_t>(d.seconds()) * kSecond + static_cast<uint64_t>(d.nanos());
  return true;
}

bool duration(const Rules* rules, Value& out) {
  out.kind = Kind::duration;
  out.low = 0;
  out.high = kMaxSeconds * kSecond + kSecond - 1;
  if (no_rules(rules)) return true;
  if (!rules->has_duration() || !only_bounds(rules->duration())) return false;
  const validate::DurationRules& r = rules->duration();
  const bool above = r.has_gt(), below = r.has_lt();
  if (above || r.has_gte()) {
    if (!in_nanoseconds(above ? r.gt() : r.gte(), out.low)) return false;
    out.low += above;
  }
  if (below || r.has_lte()) {
    if (!in_nanoseconds(below ? r.lt() : r.lte(), out.high) || (below && out.high == 0)) return false;
    out.high -= below;
  }
  return out.low <= out.high;
}

bool count(uint64_t least, uint64_t most, Table& table, Field& out) {
  if (table.counts.size() == Table::kMaxCounts) return false;
  out.count = static_cast<uint8_t>(table.counts.size());
  table.counts.push_back({least, most});
  return true;
}

bool is_typed_struct(const Descriptor& type) {
  return type.full_name() == "udpa.type.v1.TypedStruct" || type.full_name() == "xds.type.v3.TypedStruct";
}

}  // namespace

Table& Tables::of(const Descriptor& type) {
  auto& table = by_type_[&type];
  if (!table) {
    table = std::make_unique<Table>();
    table->type = &type;
  }
  return *table;
}

Table* Tables::of_content(std::string_view type_url) {
  const std::string_view name = type_url.substr(type_url.rfind('/') + 1);
  if (const auto known = by_name_.find(name); known != by_name_.end()) return known->second;
  const Descriptor* type = find_message_type(name);
  // A TypedStruct is looked at as what it describes, a value for what it is as little as can be.
  if (type == nullptr || is_value(*type) || is_typed_struct(*type) || !lists_.lists(*type)) return nullptr;
  return by_name_[type->full_name()] = &of(*type);
}

// By asking the rules themselves about every number.
bool Tables::choice(const FieldType& field, const Rules& rules, Value& out) {
  constexpr int kMost = 1024;
  int last = 0;
  for (int i = 0; i < field.enum_type()->value_count(); ++i)
    last = std::max(last, field.enum_type()->value(i)->number());
  if (rules.type_case() != Rules::kEnum || last >= kMost || field.containing_type()->map_value() != nullptr)
    return false;
  const std::unique_ptr<pb::Message> message(prototype(*field.containing_type()).New());
  const pb::Reflection& r = *message->GetReflection();
  const bool list = field.is_repeated();
  if (list) r.AddEnumValue(message.get(), &field, 0);
  auto numbers = std::make_unique<std::vector<bool>>(static_cast<size_t>(last) + 1);
  for (int i = 0; i <= last; ++i) {
    if (list)
      r.SetRepeatedEnumValue(message.get(), &field, 0, i);
    else
      r.SetEnumValue(message.get(), &field, i);
    (*numbers)[static_cast<size_t>(i)] = rules::check_scalar(rules, *message, field, list ? 0 : -1).empty();
  }
  out.kind = Kind::choice;
  out.choice = choices_.emplace_back(std::move(numbers)).get();
  return true;
}

bool Tables::message(const Descriptor& type, const Rules* rules, Value& out) {
  out.kind = Kind::message;
  switch (type.well_known_type()) {
    case Descriptor::WELLKNOWNTYPE_ANY:
      if (!no_rules(rules) &&
          (!rules->has_any() || rules->any().in_size() > 0 || rules->any().not_in_size() > 0))
        return false;
      out.kind = Kind::any;
      return true;
    case Descriptor::WELLKNOWNTYPE_DURATION:
      return duration(rules, out);
    case Descriptor::WELLKNOWNTYPE_DOUBLEVALUE:
    case Descriptor::WELLKNOWNTYPE_FLOATVALUE:
    case Descriptor::WELLKNOWNTYPE_INT64VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT64VALUE:
    case Descriptor::WELLKNOWNTYPE_INT32VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT32VALUE:
    case Descriptor::WELLKNOWNTYPE_STRINGVALUE:
    case Descriptor::WELLKNOWNTYPE_BYTESVALUE:
    case Descriptor::WELLKNOWNTYPE_BOOLVALUE: {
      auto inner = std::make_unique<Value>();
      if (!value(*type.field(0), rules, *inner)) return false;
      out.kind = Kind::wrapper;
      out.inner = values_.emplace_back(std::move(inner)).get();
      return true;
    }
    case Descriptor::WELLKNOWNTYPE_TIMESTAMP:
      if (!no_rules(rules)) return false;
      break;
    default:  // rules for a type of its own, which Envoy's API has in places, are rules for nothing
      break;
  }
  out.table = &of(type);
  return true;
}

bool Tables::value(const FieldType& field, const Rules* rules, Value& out) {
  switch (field.type()) {
    case FieldType::TYPE_INT32: {
      const validate::Int32Rules* r = nullptr;
      return rules_for(rules, Rules::kInt32, &Rules::int32, r) && integer<int32_t>(r, out);
    }
    case FieldType::TYPE_INT64: {
      const validate::Int64Rules* r = nullptr;
      return rules_for(rules, Rules::kInt64, &Rules::int64, r) && integer<int64_t>(r, out);
    }
    case FieldType::TYPE_UINT32: {
      const validate::UInt32Rules* r = nullptr;
      return rules_for(rules, Rules::kUint32, &Rules::uint32, r) && integer<uint32_t>(r, out);
    }
    case FieldType::TYPE_UINT64: {
      const validate::UInt64Rules* r = nullptr;
      return rules_for(rules, Rules::kUint64, &Rules::uint64, r) && integer<uint64_t>(r, out);
    }
    case FieldType::TYPE_BOOL:
      out.kind = Kind::integer;
      out.low = 0;
      out.high = 1;
      if (no_rules(rules)) return true;
      if (rules->has_bool_() && rules->bool_().has_const_()) out.low = out.high = rules->bool_().const_();
      return rules->has_bool_();
    case FieldType::TYPE_ENUM:
      if (!no_rules(rules)) return choice(field, *rules, out);
      return integer<int32_t, validate::Int32Rules>(nullptr, out);
    case FieldType::TYPE_DOUBLE: {
      const validate::DoubleRules* r = nullptr;
      return rules_for(rules, Rules::kDouble, &Rules::double_, r) &&
             real<double>(r, Kind::any_fixed64, Kind::real64, out);
    }
    case FieldType::TYPE_FLOAT: {
      const validate::FloatRules* r = nullptr;
      return rules_for(rules, Rules::kFloat, &Rules::float_, r) &&
             real<float>(r, Kind::any_fixed32, Kind::real32, out);
    }
    case FieldType::TYPE_STRING:
      return text(rules, out);
    case FieldType::TYPE_BYTES:
      return octets(rules, out);
    case FieldType::TYPE_MESSAGE:
      if (rules != nullptr && rules->message().skip()) return false;
      return message(*field.message_type(), rules, out);
    default:  // which the API does not have
      return false;
  }
}

bool Tables::list(const FieldType& field, const Rules* rules, Table& table, Field& out) {
  if (!no_rules(rules) && !rules->has_repeated()) return false;
  static const validate::RepeatedRules kNone;
  const auto& list = rules != nullptr ? rules->repeated() : kNone;
  if (!value(field, list.has_items() ? &list.items() : nullptr, out.value)) return false;
  out.packed = field.is_packable();
  if (out.packed && (!field.is_packed() || list.unique())) return false;
  if (list.unique()) out.excludes = out.bit;  // one alone differs from all others
  if (!list.has_max_items() && list.min_items() <= 1) return true;
  return count(list.min_items(), list.has_max_items() ? list.max_items() : UINT64_MAX, table, out);
}

bool Tables::map(const FieldType& field, const Rules* rules, Table& table, Field& out) {
  if (!no_rules(rules) && !rules->has_map()) return false;
  static const validate::MapRules kNone;
  const auto& map = rules != nullptr ? rules->map() : kNone;
  if (map.min_pairs() > 1) return false;  // a key may come twice
  auto entry = std::make_unique<Entry>();
  if (!value(*field.message_type()->map_key(), map.has_keys() ? &map.keys() : nullptr, entry->key) ||
      !value(*field.message_type()->map_value(), map.has_values() ? &map.values() : nullptr, entry->value))
    return false;
  out.value.kind = Kind::map;
  out.value.entry = entries_.emplace_back(std::move(entry)).get();
  return !map.has_max_pairs() || count(0, map.max_pairs(), table, out);
}

// False: a message without it is not right, and one with it nothing that is known.
bool Tables::add(const FieldType& field, Table& table) {
  const Rules* rules = rules::of(field);
  const bool required = !rules::check_absent(rules, field).empty();
  const auto number = static_cast<uint32_t>(field.number());
  const size_t place = table.fields.size();
  if (number > Table::kMaxNumber || place > Table::kMaxFields) return !required;
  Field made;
  made.bit = uint64_t{1} << (place - 1);
  if (rules != nullptr && rules->message().skip()) return !required;
  if (field.is_map()) {
    if (!map(field, rules, table, made)) return !required;
  } else if (field.is_repeated()) {
    if (!list(field, rules, table, made)) return !required;
  } else {
    if (!value(field, rules, made.value)) return !required;
    made.excludes = made.bit;
  }
  if (required) table.required |= made.bit;
  if (number >= table.places.size()) table.places.resize(number + 1);
  table.places[number] = static_cast<uint8_t>(place);
  table.fields.push_back(made);
  return true;
}

void Tables::make(Table& table) {
  const Descriptor& type = *table.type;
  table.made = true;
  table.fields.emplace_back();
  const bool value = is_value(type);
  const auto& options = type.options();
  table.never = type.file()->syntax() != pb::FileDescriptor::SYNTAX_PROTO3 ||
                (!value && !lists_.lists(type)) || options.GetExtension(validate::disabled) ||
                options.GetExtension(validate::ignored);
  for (int i = 0; i < type.field_count() && !table.never; ++i) {
    const FieldType& field = *type.field(i);
    if (value || lists_.lets_through(field))
      table.never = !add(field, table);
    else
      table.never = !rules::check_absent(rules::of(field), field).empty();
  }
  if (table.never) return;
  auto at = [&](const FieldType& field) -> Field* {
    const auto number = static_cast<size_t>(field.number());
    const uint8_t place = number < table.places.size() ? table.places[number] : 0;
    return place == 0 ? nullptr : &table.fields[place];
  };
  for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
    const pb::OneofDescriptor& oneof = *type.oneof_decl(i);
    uint64_t bits = 0;
    for (int k = 0; k < oneof.field_count(); ++k)
      if (const Field* f = at(*oneof.field(k))) bits |= f->bit;
    for (int k = 0; k < oneof.field_count(); ++k)
      if (Field* f = at(*oneof.field(k))) f->excludes = bits;
    if (oneof.options().GetExtension(validate::required)) table.one_of_required.push_back(bits);
  }
}

}  // namespace sluice::config::plain
