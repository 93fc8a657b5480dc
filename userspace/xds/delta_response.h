#pragma once

#include <google/protobuf/arena.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/resource.h"

namespace sluice::xds {

// An envoy.service.discovery.v3.Resource. The views are good as long as what took the response apart.
struct DeltaResource {
  std::string_view name, version;
  bool has_resource = false, has_aliases = false;
  std::string_view url, value;  // of the resource, which is an Any
  uint64_t hash = 0;  // of `value`
  std::optional<Duration> ttl;
};

// A DeltaDiscoveryResponse. Of a Resource that has name, version and resource alone, which nearly all are, the bytes are
// kept; any other is parsed.
class TakenDelta final : public TakenResponse {
 public:
  TakenDelta();

  size_t size() const { return items_.size(); }
  DeltaResource resource(size_t i) const;

 private:
  struct Item {
    std::string_view name, version, value;
    uint64_t hash = 0;
    size_t url = 0;  // in `urls`
    const envoy::service::discovery::v3::Resource* parsed = nullptr;
  };
  bool take_resource(std::string_view bytes) override;
  static bool take_plain(std::string_view bytes, Item& item, std::string_view& url);

  google::protobuf::Arena arena_;  // of bytes, and of those that are parsed
  std::vector<Item> items_;
};

}  // namespace sluice::xds
