#pragma once

#include <google/protobuf/any.pb.h>

#include <optional>
#include <string>
#include <string_view>

#include "xds/subscription.h"

// What the protocol engines share about resources as they lie in responses.
namespace sluice::xds {

std::optional<ResourceType> type_of(std::string_view url);

// ":path" of a type's own service: "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters".
std::string_view method_of(ResourceType type, bool delta);
std::string_view ads_method(bool delta);

// The name of a resource without unpacking it: in every type it is the first field. Nothing: no message.
std::optional<std::string_view> name_of(std::string_view bytes);

}  // namespace sluice::xds
