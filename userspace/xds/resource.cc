#include "xds/resource.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <utility>

#include "config/protos.h"
#include "config/wire.h"
#include "core/wyhash.h"

namespace sluice::xds {

using config::wire::Field;
using config::wire::Kind;
using config::wire::take_field;

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
    {"type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration",
     "/envoy.service.route.v3.ScopedRoutesDiscoveryService/StreamScopedRoutes",
     "/envoy.service.route.v3.ScopedRoutesDiscoveryService/DeltaScopedRoutes"},
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

}  // namespace

std::string_view type_url(ResourceType type) {
  return entry(type).url;
}

bool reads_bytes(ResourceType type) {
  return type == ResourceType::route;
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
  for (Field field; !bytes.empty();) {
    if (!take_field(bytes, field)) return std::nullopt;
    if (field.number == 1 && field.kind == Kind::bytes) name = field.content;
  }
  return name;
}

google::protobuf::ArenaOptions arena_options() {
  google::protobuf::ArenaOptions options;
  options.start_block_size = 16 << 10;
  options.max_block_size = 1 << 20;
  return options;
}

std::string_view copy_to(google::protobuf::Arena& arena, std::string_view bytes) {
  char* const copy = google::protobuf::Arena::CreateArray<char>(&arena, bytes.size());
  bytes.copy(copy, bytes.size());
  return {copy, bytes.size()};
}

size_t TakenResponse::take(std::string_view bytes) {
  constexpr uint64_t kResources = 2;  // DiscoveryResponse's and DeltaDiscoveryResponse's
  std::string_view left = bytes;
  for (Field field; !broken_ && !left.empty();) {
    std::string_view behind = left;
    if (!take_field(behind, field)) break;  // not all of it is there, or never will be
    if (field.number != kResources || field.kind != Kind::bytes)
      rest += field.whole;
    else if (broken_ = !take_resource(field.content); broken_)
      break;
    left = behind;
  }
  return bytes.size() - left.size();
}

bool TakenApart::take_resource(std::string_view any) {
  constexpr uint64_t kTypeUrl = 1, kValue = 2;
  std::string_view url, value;
  for (Field field; !any.empty();) {
    if (!take_field(any, field)) return false;
    if (field.number == kTypeUrl && field.kind == Kind::bytes) url = field.content;
    if (field.number == kValue && field.kind == Kind::bytes) value = field.content;
  }
  resources.push_back({value, wyhash(value), index_of(url)});
  return true;
}

size_t TakenResponse::index_of(std::string_view url) {
  if (urls.empty() || urls.back() != url) urls.emplace_back(url);
  return urls.size() - 1;
}

Result<std::shared_ptr<const google::protobuf::Message>> unpack(
    const Resource& resource, const std::shared_ptr<google::protobuf::Arena>& arena) {
  static const auto descriptors = [] {
    std::array<const google::protobuf::Descriptor*, kResourceTypes> out{};
    for (size_t i = 0; i < kResourceTypes; ++i)
      out[i] = config::find_message_type(kTypes[i].url.substr(kTypes[i].url.rfind('/') + 1));
    return out;
  }();
  const std::string_view url = type_url(resource.type), full_name = url.substr(url.rfind('/') + 1);
  const auto* descriptor = descriptors[static_cast<size_t>(resource.type)];
  if (descriptor == nullptr)
    return Error{std::string(full_name) + " is not a type this version of Sluice knows"};
  const google::protobuf::Message& prototype = config::prototype(*descriptor);
  std::shared_ptr<google::protobuf::Message> made =
      arena ? std::shared_ptr<google::protobuf::Message>(arena, prototype.New(arena.get()))
            : std::shared_ptr<google::protobuf::Message>(prototype.New());
  if (!made->ParseFromArray(resource.bytes.data(), static_cast<int>(resource.bytes.size())))
    return Error{"Unable to unpack as " + std::string(full_name) + ": the " +
                 std::to_string(resource.bytes.size()) + " bytes of resource '" + std::string(resource.name) +
                 "' are not one"};
  return std::shared_ptr<const google::protobuf::Message>(std::move(made));
}

Result<std::shared_ptr<const google::protobuf::Message>> Resource::unpack() const {
  if (message) return message;
  return xds::unpack(*this, nullptr);
}

}  // namespace sluice::xds
