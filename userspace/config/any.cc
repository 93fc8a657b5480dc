#include "config/any.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "config/protos.h"
#include "config/yaml_json.h"
#include "udpa/type/v1/typed_struct.pb.h"
#include "xds/type/v3/typed_struct.pb.h"

namespace sluice::config {

namespace pb = google::protobuf;

namespace {

using MessagePtr = std::unique_ptr<pb::Message>;

Result<MessagePtr> make(const std::string& type_url, const FieldPath& path) {
  if (type_url.empty()) return Error{path.error("is empty: \"@type\" is missing, which names its type")};
  const std::string_view name = std::string_view(type_url).substr(type_url.rfind('/') + 1);
  const pb::Descriptor* type = find_message_type(name);
  if (type == nullptr)
    return Error{
        path.error(std::string(name) + " is not a type this version of Sluice knows" + type_remedy(name))};
  return MessagePtr(prototype(*type).New());
}

template <typename TypedStruct>
Result<MessagePtr> from_typed_struct(const pb::Message& content, const FieldPath& path) {
  const auto& typed = static_cast<const TypedStruct&>(content);
  SLUICE_ASSIGN(MessagePtr message, make(typed.type_url(), path.field("type_url")));
  SLUICE_TRY(parse_struct(typed.value(), path.field("value"), *message));
  return message;
}

}  // namespace

Result<MessagePtr> unpack(const pb::Any& any, const FieldPath& path) {
  SLUICE_ASSIGN(MessagePtr message, make(any.type_url(), path));
  if (!message->ParseFromString(any.value()))
    return Error{path.error("the bytes are not a " + message->GetDescriptor()->full_name())};
  if (message->GetDescriptor() == udpa::type::v1::TypedStruct::descriptor())
    return from_typed_struct<udpa::type::v1::TypedStruct>(*message, path);
  if (message->GetDescriptor() == xds::type::v3::TypedStruct::descriptor())
    return from_typed_struct<xds::type::v3::TypedStruct>(*message, path);
  return message;
}

}  // namespace sluice::config
