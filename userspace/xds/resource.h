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

// A response taken apart where it lies, as it comes: a push of megabytes is not copied to find that most of it is known, and
// what has just come is still in the cache.
class TakenResponse {
 public:
  // So much of a response of `total` bytes is there, from its beginning: as before, and more.
  void take(std::string_view begun, size_t total);
  // All of it is. False: it is no message.
  bool finish(std::string_view response);

  std::vector<std::string> urls;  // of resources; runs of them share one
  std::string rest;  // the fields that are no resources, to be parsed

 protected:
  TakenResponse() = default;
  ~TakenResponse() = default;
  TakenResponse(TakenResponse&&) = default;
  TakenResponse& operator=(TakenResponse&&) = default;
  size_t index_of(std::string_view url);  // in `urls`

 private:
  // One resource's field, `at` in the response. False: it is no message.
  virtual bool take_resource(std::string_view bytes, size_t at) = 0;
  virtual void reserve(size_t resources) = 0;
  size_t done_ = 0;  // bytes
  bool begun_ = false;  // a resource has come
  bool broken_ = false;
};

// A DiscoveryResponse.
class TakenApart final : public TakenResponse {
 public:
  struct Item {
    size_t at, size;  // of an Any's value, in the response
    uint64_t hash;  // of that
    size_t url;  // the Any's type_url, in `urls`
    std::string_view value(std::string_view response) const { return response.substr(at, size); }
  };
  std::vector<Item> resources;

 private:
  bool take_resource(std::string_view any, size_t at) override;
  void reserve(size_t n) override { resources.reserve(n); }
};

}  // namespace sluice::xds
