#include "xds/resource.h"

#include <google/protobuf/message.h>

#include "config/protos.h"

namespace sluice::xds {
namespace {

struct Type {
  std::string_view url;
  std::string_view stream, delta;
};

// By ResourceType.
constexpr Type kTypes[] = {
    {"type.googleapis.com/envoy.config.cluster.v3.Cluster",
     "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
     "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters"},
    {"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
     "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
     "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints"},
    {"type.googleapis.com/envoy.config.listener.v3.Listener",
     "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
     "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners"},
    {"type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
     "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
     "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes"},
    {"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
     "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
     "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"},
    {"type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
     "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
     "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs"},
};
static_assert(std::size(kTypes) == kResourceTypes);

const Type& entry(ResourceType type) {
  return kTypes[static_cast<size_t>(type)];
}

// Takes a varint off the front; nothing: the bytes end in it.
std::optional<uint64_t> take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

bool skip(std::string_view& bytes, uint64_t n) {
  if (n > bytes.size()) return false;
  bytes.remove_prefix(n);
  return true;
}

}  // namespace

std::string_view type_url(ResourceType type) {
  return entry(type).url;
}

std::optional<ResourceType> type_of(std::string_view url) {
  for (size_t i = 0; i < kResourceTypes; ++i) {
    if (kTypes[i].url == url) return static_cast<ResourceType>(i);
  }
  return std::nullopt;
}

std::string_view method_of(ResourceType type, bool delta) {
  return delta ? entry(type).delta : entry(type).stream;
}

std::string_view ads_method(bool delta) {
  return delta ? "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
               : "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
}

std::optional<std::string_view> name_of(std::string_view bytes) {
  std::string_view name;
  while (!bytes.empty()) {
    const auto tag = take_varint(bytes);
    if (!tag) return std::nullopt;
    std::optional<uint64_t> length;
    switch (*tag & 7) {
      case 0:
        if (!take_varint(bytes)) return std::nullopt;
        break;
      case 1:
        if (!skip(bytes, 8)) return std::nullopt;
        break;
      case 2:
        length = take_varint(bytes);
        if (!length || *length > bytes.size()) return std::nullopt;
        if (*tag >> 3 == 1) name = bytes.substr(0, *length);
        bytes.remove_prefix(*length);
        break;
      case 5:
        if (!skip(bytes, 4)) return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
  }
  return name;
}

Result<std::shared_ptr<const google::protobuf::Message>> Resource::unpack() const {
  if (message) return message;
  const std::string_view full_name = type_url(type).substr(type_url(type).rfind('/') + 1);
  const auto* descriptor = config::find_message_type(full_name);
  if (descriptor == nullptr)
    return Error{std::string(full_name) + " is not a type this version of Sluice knows"};
  std::shared_ptr<google::protobuf::Message> made(config::prototype(*descriptor).New());
  if (!made->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error{"Unable to unpack as " + std::string(full_name) + ": the " + std::to_string(bytes.size()) +
                 " bytes of resource '" + name + "' are not one"};
  return std::shared_ptr<const google::protobuf::Message>(std::move(made));
}

}  // namespace sluice::xds
