#pragma once

#include <string_view>

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace sluice::protos {

// Makes the linker keep every message of Envoy's API (a static library drops what nobody names, and an `Any`
// names its content only at run time). Called by what follows; returns the number of .proto files linked.
int link_all();

}  // namespace sluice::protos

namespace sluice::config {

// The message type "envoy.config.cluster.v3.Cluster", or nullptr when this build does not have it.
const google::protobuf::Descriptor* find_message_type(std::string_view full_name);

// The default instance of a type from find_message_type(); New() on it makes messages.
const google::protobuf::Message& prototype(const google::protobuf::Descriptor& type);

}  // namespace sluice::config
