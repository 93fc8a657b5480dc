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

// Whether those who get resources of this type look at the bytes, of which most are known to them: they have no message
// before somebody asks for it.
bool reads_bytes(ResourceType type);

// What a state-of-the-world resource may be wrapped in, with a name, a version and a TTL of its own.
inline constexpr std::string_view kWrapped = "type.googleapis.com/envoy.service.discovery.v3.Resource";

// As Resource::unpack. With an arena the message lives in that, and whoever keeps the message keeps all of it.
Result<std::shared_ptr<const google::protobuf::Message>> unpack(
    const Resource& resource, const std::shared_ptr<google::protobuf::Arena>& arena);

// An arena for what one push brings, and a copy of bytes in one.
google::protobuf::ArenaOptions arena_options();
std::string_view copy_to(google::protobuf::Arena& arena, std::string_view bytes);

// A response taken apart where it lies, as it comes: a push of megabytes is not copied to find that most of it is known, and
// what has just come is still in the cache.
class TakenResponse {
 public:
  // What comes next of a response, behind what was done with so far. How many bytes it is done with; all that do not end
  // in the middle of a field, if the response is a message.
  size_t take(std::string_view bytes);

  std::vector<std::string> urls;  // of resources; runs of them share one
  std::string rest;  // the fields that are no resources, to be parsed

 protected:
  TakenResponse() = default;
  ~TakenResponse() = default;
  size_t index_of(std::string_view url);  // in `urls`

 private:
  // One resource's field. False: it is no message.
  virtual bool take_resource(std::string_view bytes) = 0;
  bool broken_ = false;
};

// A DiscoveryResponse.
class TakenApart final : public TakenResponse {
 public:
  struct Item {
    std::string_view value;  // an Any's, in the bytes that were given
    uint64_t hash;  // of that
    size_t url;  // the Any's type_url, in `urls`
  };
  std::vector<Item> resources;  // the user's to shorten

 private:
  bool take_resource(std::string_view any) override;
};

}  // namespace sluice::xds
