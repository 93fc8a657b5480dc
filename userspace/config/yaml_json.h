#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/path.h"
#include "core/result.h"

namespace google::protobuf {
class Descriptor;
class Message;
class Struct;
}  // namespace google::protobuf

namespace sluice::config {

enum class Syntax : uint8_t { yaml, json };

// Reads YAML or JSON text into `into` as Envoy does: protobuf's JSON mapping, with field names in snake_case
// or lowerCamelCase, an Any by its "@type". Stricter than Envoy where Envoy ignores something (a key given
// twice, a second document). `source` names the text in errors, which say "source:line:column: field.path:
// what and what to do".
Status parse_text(std::string_view text, std::string_view source, Syntax syntax,
                  google::protobuf::Message& into);

// The same for a Struct that holds a message (TypedStruct); `path` is where it stands.
Status parse_struct(const google::protobuf::Struct& value, const FieldPath& path,
                    google::protobuf::Message& into);

// What to write in place of a field that `type` does not have: the v3 name of a v2 field, else the nearest
// names. `name`: what stands beside it as "name", if anything.
std::string field_remedy(const google::protobuf::Descriptor& type, std::string_view field,
                         std::string_view name = {});
// The first half of that alone, also for fields that v3 still has; "": it is not known as old.
std::string old_field_remedy(const google::protobuf::Descriptor& type, std::string_view field);
// What to write for an extension that is named only, by its v2 or v3 name; "": the name says nothing.
std::string name_remedy(std::string_view name);

// What to write in place of a message type that this build does not have: the v3 name of a v2 type, else "".
std::string type_remedy(std::string_view full_name);

}  // namespace sluice::config
