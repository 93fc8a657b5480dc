#include "config/fill.h"

#include <google/protobuf/descriptor.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "config/yaml_json.h"

namespace sluice::config {

namespace pb = google::protobuf;

namespace {

// An integer in JSON's or plain decimal syntax; "1.0" and "1e3" are integers, "1.5" is not.
template <typename Int>
std::optional<Int> integer(std::string_view text) {
  Int value{};
  const char* begin = text.data();
  const char* end = begin + text.size();
  auto [rest, error] = std::from_chars(begin, end, value);
  if (error == std::errc() && rest == end && begin != end) return value;
  double real = 0;
  auto [real_rest, real_error] = std::from_chars(begin, end, real);
  // Above 2^53 a double no longer says which integer was meant.
  if (real_error != std::errc() || real_rest != end || real != std::floor(real) ||
      std::fabs(real) > 9007199254740992.0)
    return std::nullopt;
  if (real < static_cast<double>(std::numeric_limits<Int>::min()) ||
      real > static_cast<double>(std::numeric_limits<Int>::max()))
    return std::nullopt;
  return static_cast<Int>(real);
}

std::optional<double> real(std::string_view text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  double value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || text.empty() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// Base64, standard or URL alphabet, padding optional.
std::optional<std::string> base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  size_t i = 0;
  for (; i < text.size() && text[i] != '='; ++i) {
    const char c = text[i];
    int v = -1;
    if (c >= 'A' && c <= 'Z')
      v = c - 'A';
    else if (c >= 'a' && c <= 'z')
      v = c - 'a' + 26;
    else if (c >= '0' && c <= '9')
      v = c - '0' + 52;
    else if (c == '+' || c == '-')
      v = 62;
    else if (c == '/' || c == '_')
      v = 63;
    if (v < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(v);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  const size_t padding = text.size() - i;
  if (i % 4 == 1 || padding > 2 || (padding > 0 && text.size() % 4 != 0)) return std::nullopt;
  if (text.find_first_not_of('=', i) != std::string_view::npos) return std::nullopt;
  return out;
}

// By name in any case, as Envoy reads it, or by number.
std::optional<int> enum_number(const pb::EnumDescriptor& type, const Node& node) {
  if (node.kind == Node::Kind::string) {
    std::string upper(node.text);
    if (const auto* v = type.FindValueByName(upper)) return v->number();
    for (char& c : upper) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (const auto* v = type.FindValueByName(upper)) return v->number();
  }
  auto number = integer<int32_t>(node.text);
  if (!number) return std::nullopt;
  return *number;
}

std::string enum_names(const pb::EnumDescriptor& type) {
  std::string out;
  for (int i = 0; i < type.value_count(); ++i) {
    if (i > 0) out += ", ";
    if (i == 12) return out + "...";
    out += type.value(i)->name();
  }
  return out;
}

template <typename Int>
std::string range_text() {
  return "an integer from " + std::to_string(std::numeric_limits<Int>::min()) + " to " +
         std::to_string(std::numeric_limits<Int>::max());
}

std::string shown(const Node& node) {
  if (node.kind == Node::Kind::list || node.kind == Node::Kind::map || node.kind == Node::Kind::null)
    return std::string(kind_name(node.kind));
  std::string text(node.text);
  if (text.size() > 60) text.replace(57, std::string::npos, "...");
  return node.kind == Node::Kind::string ? "\"" + text + "\"" : text;
}

}  // namespace

const pb::FieldDescriptor* Filler::find_field(const pb::Descriptor& type, std::string_view key) {
  auto [it, fresh] = types_.try_emplace(&type);
  Fields& fields = it->second;
  if (fresh) {
    for (int i = 0; i < type.field_count(); ++i) fields.emplace(type.field(i)->json_name(), type.field(i));
    for (int i = 0; i < type.field_count(); ++i) fields[type.field(i)->name()] = type.field(i);
  }
  const auto found = fields.find(key);
  return found == fields.end() ? nullptr : found->second;
}

Error Filler::wrong_kind(const Node& node, const FieldPath& path, std::string_view expected) const {
  std::string what = "must be ";
  what += expected;
  what += ", not " + shown(node);
  return fail(node, path, what);
}

Status Filler::message(const Node& node, const FieldPath& path, Message& into, std::string_view skip) {
  if (path.depth() > kMaxDepth)
    return fail(node, path, "nested more than " + std::to_string(kMaxDepth) + " deep");
  const pb::Descriptor& type = *into.GetDescriptor();
  if (is_well_known(type)) return well_known(node, path, into, type);
  return fields(node, path, into, type, skip);
}

// The text of the map's "name"; "": it has none.
static std::string_view name_in(const Node& map) {
  for (const auto& entry : map.entries)
    if (entry.key == "name" && entry.value->kind == Node::Kind::string) return entry.value->text;
  return "";
}

Status Filler::fields(const Node& node, const FieldPath& path, Message& into, const pb::Descriptor& type,
                      std::string_view skip) {
  if (node.kind != Node::Kind::map)
    return wrong_kind(node, path, "a map (fields of " + type.full_name() + ")");
  const Target target(into);
  const size_t first = seen_.size();
  // The key that set it before; nothing: it is new.
  auto set_before = [&](const void* what, std::string_view key) -> std::string_view {
    for (size_t i = first; i < seen_.size(); ++i)
      if (seen_[i].first == what) return seen_[i].second;
    seen_.emplace_back(what, key);
    return {};
  };
  for (const Node::Entry& entry : node.entries) {
    if (!skip.empty() && entry.key == skip) continue;
    const Field* f = find_field(type, entry.key);
    if (f == nullptr)
      return error_at(source_, entry.line, entry.column,
                      path.field(entry.key).error("no such field in " + type.full_name() + "; " +
                                                  field_remedy(type, entry.key, name_in(node))));
    if (const std::string_view before = set_before(f, entry.key); !before.empty())
      return error_at(source_, entry.line, entry.column,
                      path.field(entry.key).error("given twice, as \"" + std::string(before) +
                                                  "\" and as \"" + std::string(entry.key) + "\"; keep one"));
    const bool null = entry.value->kind == Node::Kind::null;
    if (null && !(f->message_type() != nullptr && f->message_type()->full_name() == "google.protobuf.Value"))
      continue;
    if (const auto* oneof = f->real_containing_oneof()) {
      if (const std::string_view before = set_before(oneof, entry.key); !before.empty())
        return error_at(source_, entry.line, entry.column,
                        path.field(entry.key).error("excludes \"" + std::string(before) +
                                                    "\", which is set too; keep one of them"));
    }
    SLUICE_TRY(field(*entry.value, path.field(f->name()), target, *f));
  }
  seen_.resize(first);
  return {};
}

Status Filler::field(const Node& node, const FieldPath& path, Target into, const Field& f) {
  if (f.is_map()) return map(node, path, into, f);
  if (f.is_repeated()) return repeated(node, path, into, f);
  if (f.cpp_type() == Field::CPPTYPE_MESSAGE)
    return message(node, path, *into.reflection.MutableMessage(&into.message, &f));
  return scalar(node, path, into, f);
}

Status Filler::repeated(const Node& node, const FieldPath& path, Target into, const Field& f) {
  auto one = [&](const Node& item, const FieldPath& at) -> Status {
    if (f.cpp_type() != Field::CPPTYPE_MESSAGE) return scalar(item, at, into, f);
    Message& added = *into.reflection.AddMessage(&into.message, &f);
    if (item.kind == Node::Kind::null && f.message_type()->full_name() != "google.protobuf.Value")
      return fail(item, at, "an entry of this list is empty; fill it or remove its \"-\"");
    return message(item, at, added);
  };
  // Envoy takes a lone value for a list of one.
  if (node.kind != Node::Kind::list) return one(node, path.item(0));
  for (size_t i = 0; i < node.items.size(); ++i) SLUICE_TRY(one(*node.items[i], path.item(i)));
  return {};
}

Status Filler::map(const Node& node, const FieldPath& path, Target into, const Field& f) {
  if (node.kind != Node::Kind::map) return wrong_kind(node, path, "a map");
  const Field& key_field = *f.message_type()->map_key();
  const Field& value_field = *f.message_type()->map_value();
  for (const Node::Entry& entry : node.entries) {
    const FieldPath at = path.key(entry.key);
    const Target pair(*into.reflection.AddMessage(&into.message, &f));
    Node key;
    key.kind = Node::Kind::string;
    key.line = entry.line;
    key.column = entry.column;
    key.text = entry.key;
    SLUICE_TRY(scalar(key, at, pair, key_field));
    if (entry.value->kind == Node::Kind::null && value_field.cpp_type() != Field::CPPTYPE_MESSAGE)
      return fail(*entry.value, at, "has no value");
    if (entry.value->kind == Node::Kind::null &&
        value_field.message_type()->full_name() != "google.protobuf.Value")
      continue;
    SLUICE_TRY(field(*entry.value, at, pair, value_field));
  }
  return {};
}

Status Filler::scalar(const Node& node, const FieldPath& path, Target target, const Field& f) {
  const pb::Reflection& r = target.reflection;
  Message& into = target.message;
  const bool list = f.is_repeated();
  const bool word = node.kind == Node::Kind::string || node.kind == Node::Kind::number;
  auto number = [&]<typename Int>(Int, auto set, auto add) -> Status {
    const auto value = word ? integer<Int>(node.text) : std::nullopt;
    if (!value) return wrong_kind(node, path, range_text<Int>());
    list ? (r.*add)(&into, &f, *value) : (r.*set)(&into, &f, *value);
    return {};
  };
  switch (f.cpp_type()) {
    case Field::CPPTYPE_INT32:
      return number(int32_t{}, &pb::Reflection::SetInt32, &pb::Reflection::AddInt32);
    case Field::CPPTYPE_INT64:
      return number(int64_t{}, &pb::Reflection::SetInt64, &pb::Reflection::AddInt64);
    case Field::CPPTYPE_UINT32:
      return number(uint32_t{}, &pb::Reflection::SetUInt32, &pb::Reflection::AddUInt32);
    case Field::CPPTYPE_UINT64:
      return number(uint64_t{}, &pb::Reflection::SetUInt64, &pb::Reflection::AddUInt64);
    case Field::CPPTYPE_DOUBLE: {
      const auto value = word ? real(node.text) : std::nullopt;
      if (!value) return wrong_kind(node, path, "a number");
      list ? r.AddDouble(&into, &f, *value) : r.SetDouble(&into, &f, *value);
      return {};
    }
    case Field::CPPTYPE_FLOAT: {
      const auto value = word ? real(node.text) : std::nullopt;
      if (!value || (std::isfinite(*value) && std::fabs(*value) > std::numeric_limits<float>::max()))
        return wrong_kind(node, path, "a number");
      list ? r.AddFloat(&into, &f, static_cast<float>(*value))
           : r.SetFloat(&into, &f, static_cast<float>(*value));
      return {};
    }
    case Field::CPPTYPE_BOOL: {
      const bool quoted = node.kind == Node::Kind::string && (node.text == "true" || node.text == "false");
      if (node.kind != Node::Kind::boolean && !quoted) return wrong_kind(node, path, "true or false");
      const bool value = truth(node);
      list ? r.AddBool(&into, &f, value) : r.SetBool(&into, &f, value);
      return {};
    }
    case Field::CPPTYPE_ENUM: {
      const auto value = word ? enum_number(*f.enum_type(), node) : std::nullopt;
      if (!value) return wrong_kind(node, path, "one of " + enum_names(*f.enum_type()));
      list ? r.AddEnumValue(&into, &f, *value) : r.SetEnumValue(&into, &f, *value);
      return {};
    }
    case Field::CPPTYPE_STRING: {
      if (node.kind == Node::Kind::number || node.kind == Node::Kind::boolean)
        return fail(node, path,
                    "must be a string, and " + std::string(node.text) + " without quotes is " +
                        std::string(kind_name(node.kind)) + "; write it in quotes");
      if (node.kind != Node::Kind::string) return wrong_kind(node, path, "a string");
      std::string text(node.text);
      if (f.type() == Field::TYPE_BYTES) {
        auto bytes = base64(text);
        if (!bytes) return fail(node, path, "must be base64 (this field holds bytes)");
        text = std::move(*bytes);
      }
      list ? r.AddString(&into, &f, std::move(text)) : r.SetString(&into, &f, std::move(text));
      return {};
    }
    case Field::CPPTYPE_MESSAGE:
      break;
  }
  return fail(node, path, "cannot be read from text");
}

}  // namespace sluice::config
