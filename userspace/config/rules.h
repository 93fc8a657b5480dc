#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>

#include "validate/validate.pb.h"

// The rules of one value. Each function returns what is wrong in protoc-gen-validate's words, or "".
namespace sluice::config::rules {

std::string check_string(const validate::StringRules& rules, const std::string& value);
std::string check_bytes(const validate::BytesRules& rules, const std::string& value);

// A singular value of a numeric, bool, enum, string or bytes field: `index` is -1, or the place in a repeated
// field.
std::string check_scalar(const validate::FieldRules& rules, const google::protobuf::Message& message,
                         const google::protobuf::FieldDescriptor& field, int index);

// Duration, Timestamp, Any and the wrappers, which carry their rules at the field that holds them; "" for
// others.
std::string check_well_known(const validate::FieldRules& rules, const google::protobuf::Message& value);

// Whether the rules want a singular message field to be there.
bool wants_presence(const validate::FieldRules& rules);

}  // namespace sluice::config::rules
