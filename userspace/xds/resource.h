#pragma once

#include <google/protobuf/arena.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xds/subscription.h"

// What the protocol engines share about resources as they lie in responses.
namespace sluice::xds {

std::optional<ResourceType> type_of(std::string_view url);

// ":path" of a type's own service: "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters".
std::string_view method_of(ResourceType type, bool delta);
std::string_view ads_method(bool delta);

// The name of a resource without unpacking it: in every type it is the first field. Nothing: no message.
std::optional<std::string_view> name_of(std::string_view bytes);

// As Resource::unpack. With an arena the message lives in that, and whoever keeps the message keeps all of it.
Result<std::shared_ptr<const google::protobuf::Message>> unpack(
    const Resource& resource, const std::shared_ptr<google::protobuf::Arena>& arena);

// A DiscoveryResponse taken apart where it lies: a push of megabytes is not copied to find that most of it is known. One
// pass over the bytes, while they are in the cache.
struct TakenApart {
  struct Item {
    std::string_view value;  // of an Any
    uint64_t hash;  // of `value`
    size_t url;  // the Any's type_url, in `urls`
  };
  std::vector<Item> resources;
  std::vector<std::string_view> urls;  // runs of resources share one
  std::string rest;  // the other fields, to be parsed
};
std::optional<TakenApart> take_apart(std::string_view response);  // nothing: no message

}  // namespace sluice::xds
