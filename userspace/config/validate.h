#pragma once

#include "config/path.h"
#include "core/result.h"

namespace google::protobuf {
class Message;
}

namespace sluice::config {

// Checks a message and all inside it (what an Any holds too) against the rules that Envoy's API carries in
// its own annotations (`validate.rules`, protoc-gen-validate), read by reflection. The error says the path
// and Envoy's words: "static_resources.clusters[0].name: value length must be at least 1 characters".
Status validate(const google::protobuf::Message& message, const FieldPath& path);

}  // namespace sluice::config
