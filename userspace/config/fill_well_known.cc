// The messages whose JSON form is not a map of their fields: Any, Duration, Timestamp, FieldMask, Struct,
// wrappers.
#include <google/protobuf/any.pb.h>
#include <google/protobuf/arena.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <charconv>
#include <cstdlib>

#include "config/any.h"
#include "config/fill.h"
#include "config/protos.h"
#include "config/yaml_json.h"

namespace sluice::config {

namespace pb = google::protobuf;

bool Filler::is_well_known(const pb::Descriptor& type) const {
  return type.well_known_type() != pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED;
}

Status Filler::well_known(const Node& node, const FieldPath& path, Message& into,
                          const pb::Descriptor& type) {
  using D = pb::Descriptor;
  switch (type.well_known_type()) {
    case D::WELLKNOWNTYPE_ANY:
      return any(node, path, into);
    case D::WELLKNOWNTYPE_DURATION:
      return duration(node, path, into);
    case D::WELLKNOWNTYPE_TIMESTAMP:
      return timestamp(node, path, into);
    case D::WELLKNOWNTYPE_FIELDMASK:
      return field_mask(node, path, into);
    case D::WELLKNOWNTYPE_STRUCT:
      return structure(node, path, into);
    case D::WELLKNOWNTYPE_VALUE:
      return value(node, path, into);
    case D::WELLKNOWNTYPE_LISTVALUE:
      if (node.kind != Node::Kind::list) return wrong_kind(node, path, "a list");
      for (size_t i = 0; i < node.items.size(); ++i)
        SLUICE_TRY(message(*node.items[i], path.item(i), *static_cast<pb::ListValue&>(into).add_values()));
      return {};
    default: {  // a wrapper: its JSON form is its `value`
      const Field* inner = type.FindFieldByName("value");
      return inner != nullptr ? scalar(node, path, Target(into), *inner) : fields(node, path, into, type, {});
    }
  }
}

Status Filler::any(const Node& node, const FieldPath& path, Message& into) {
  if (node.kind != Node::Kind::map) return wrong_kind(node, path, "a map with an \"@type\"");
  if (node.entries.empty()) return {};  // of no type: who unpacks it refuses it
  const Node::Entry* tag = nullptr;
  for (const auto& entry : node.entries)
    if (entry.key == "@type") tag = &entry;
  if (tag == nullptr)
    return fail(node, path,
                "\"@type\" is missing; it names the configuration's type, as in \"@type\": "
                "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy");
  static constexpr std::string_view kPrefix = "type.googleapis.com/";
  const std::string url(tag->value->text);
  if (tag->value->kind != Node::Kind::string || !url.starts_with(kPrefix) || url.size() == kPrefix.size())
    return fail(*tag->value, path.field("@type"),
                "must be \"type.googleapis.com/\" and a full message name" +
                    (url.empty() ? std::string() : ", not \"" + url + "\""));
  const std::string_view name = std::string_view(url).substr(kPrefix.size());
  const pb::Descriptor* type = find_message_type(name);
  if (type == nullptr)
    return fail(*tag->value, path.field("@type"),
                std::string(name) + " is not a type this version of Sluice knows" + type_remedy(name));
  const auto arena = make_arena();
  Message* const content = prototype(*type).New(arena.get());
  if (is_well_known(*type)) {
    const Node* inner = nullptr;
    for (const auto& entry : node.entries) {
      if (entry.key == "value")
        inner = entry.value;
      else if (entry.key != "@type")
        return error_at(
            source_, entry.line, entry.column,
            path.field(entry.key).error("an Any of " + type->full_name() + " has only \"value\""));
    }
    if (inner != nullptr) SLUICE_TRY(message(*inner, path.field("value"), *content));
  } else {
    SLUICE_TRY(message(node, path, *content, "@type"));
  }
  auto& out = static_cast<pb::Any&>(into);
  out.set_type_url(url);
  // Deterministic, so that equal configurations have equal hashes.
  pb::io::StringOutputStream stream(out.mutable_value());
  pb::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  content->SerializePartialToCodedStream(&coded);
  coded.Trim();
  KeepContents::add(out, MessagePtr(arena, content));
  return {};
}

Status Filler::duration(const Node& node, const FieldPath& path, Message& into) {
  const std::string text(node.text);
  if (node.kind == Node::Kind::number)
    return fail(node, path, "must be a duration with its unit, such as \"" + text + "s\"");
  if (node.kind != Node::Kind::string) return wrong_kind(node, path, "a duration such as \"0.25s\"");
  for (std::string_view unit : {"ms", "us", "ns"})
    if (text.ends_with(unit))
      return fail(node, path, "must be a duration in seconds such as \"0.25s\", not \"" + text + "\"");
  auto& out = static_cast<pb::Duration&>(into);
  const bool syntax = text.size() > 1 && text.back() == 's' &&
                      text.find_first_not_of("-0123456789.") == text.size() - 1 &&
                      text.find('-', 1) == std::string::npos;
  if (!syntax || !pb::util::TimeUtil::FromString(text, &out)) {
    const bool unit = !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos;
    return fail(node, path,
                unit ? "must be a duration with its unit, such as \"" + text + "s\""
                     : "must be a duration in seconds such as \"0.25s\", not \"" + text + "\"");
  }
  return {};
}

Status Filler::timestamp(const Node& node, const FieldPath& path, Message& into) {
  if (node.kind != Node::Kind::string ||
      !pb::util::TimeUtil::FromString(std::string(node.text), &static_cast<pb::Timestamp&>(into)))
    return wrong_kind(node, path, "a time such as \"2026-01-31T12:00:00Z\"");
  return {};
}

Status Filler::field_mask(const Node& node, const FieldPath& path, Message& into) {
  if (node.kind != Node::Kind::string)
    return wrong_kind(node, path, "a comma-separated string of field names");
  auto& mask = static_cast<pb::FieldMask&>(into);
  std::string_view rest = node.text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    std::string snake;
    for (char c : rest.substr(0, comma)) {
      if (c >= 'A' && c <= 'Z') {
        snake += '_';
        c = static_cast<char>(c - 'A' + 'a');
      }
      snake += c;
    }
    if (!snake.empty()) mask.add_paths(snake);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return {};
}

Status Filler::value(const Node& node, const FieldPath& path, Message& into) {
  auto& out = static_cast<pb::Value&>(into);
  if (path.depth() > kMaxDepth)
    return fail(node, path, "nested more than " + std::to_string(kMaxDepth) + " deep");
  switch (node.kind) {
    case Node::Kind::null:
      out.set_null_value(pb::NULL_VALUE);
      return {};
    case Node::Kind::boolean:
      out.set_bool_value(truth(node));
      return {};
    case Node::Kind::number:
      out.set_number_value(std::strtod(std::string(node.text).c_str(), nullptr));
      return {};
    case Node::Kind::string:
      out.set_string_value(std::string(node.text));
      return {};
    case Node::Kind::list:
      out.mutable_list_value();
      for (size_t i = 0; i < node.items.size(); ++i)
        SLUICE_TRY(value(*node.items[i], path.item(i), *out.mutable_list_value()->add_values()));
      return {};
    case Node::Kind::map:
      return structure(node, path, *out.mutable_struct_value());
  }
  return {};
}

Status Filler::structure(const Node& node, const FieldPath& path, Message& into) {
  if (node.kind != Node::Kind::map) return wrong_kind(node, path, "a map");
  auto& fields = *static_cast<pb::Struct&>(into).mutable_fields();
  for (const auto& entry : node.entries)
    SLUICE_TRY(value(*entry.value, path.field(entry.key), fields[std::string(entry.key)]));
  return {};
}

}  // namespace sluice::config
