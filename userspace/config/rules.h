#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cstdint>
#include <string>

#include "validate/validate.pb.h"

// The rules of one value. Each function returns what is wrong in protoc-gen-validate's words, or "".
namespace sluice::config::rules {

std::string check_string(const validate::StringRules& rules, const std::string& value);
std::string check_bytes(const validate::BytesRules& rules, const std::string& value);

// The rules that the API has for a field; null: none.
const validate::FieldRules* of(const google::protobuf::FieldDescriptor& field);

// Of a field that is not set; `rules` may be null.
std::string check_absent(const validate::FieldRules* rules, const google::protobuf::FieldDescriptor& field);

// A singular value of a numeric, bool, enum, string or bytes field: `index` is -1, or the place in a repeated
// field.
std::string check_scalar(const validate::FieldRules& rules, const google::protobuf::Message& message,
                         const google::protobuf::FieldDescriptor& field, int index);

// Duration, Timestamp, Any and the wrappers, which carry their rules at the field that holds them; "" for
// others.
std::string check_well_known(const validate::FieldRules& rules, const google::protobuf::Message& value);

// "value must contain at least 2 item(s)"
std::string at_least(uint64_t count, const char* what);

}  // namespace sluice::config::rules
