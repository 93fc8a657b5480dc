#include "config/protos.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>

namespace sluice::config {

namespace pb = google::protobuf;

const pb::Descriptor* find_message_type(std::string_view full_name) {
  [[maybe_unused]] static const int linked = protos::link_all();
  return pb::DescriptorPool::generated_pool()->FindMessageTypeByName(std::string(full_name));
}

const pb::Message& prototype(const pb::Descriptor& type) {
  return *pb::MessageFactory::generated_factory()->GetPrototype(&type);
}

}  // namespace sluice::config
