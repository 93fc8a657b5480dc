#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/resource.h"

namespace sluice::xds {

// An envoy.service.discovery.v3.Resource. The views are good as long as the response and what took it apart.
struct DeltaResource {
  std::string_view name, version;
  bool has_resource = false, has_aliases = false;
  std::string_view url, value;  // of the resource, which is an Any
  uint64_t hash = 0;  // of `value`
  std::optional<Duration> ttl;
};

// A DeltaDiscoveryResponse. A Resource that has name, version and resource alone, which nearly all are, stays where it is; any
// other is parsed.
class TakenDelta final : public TakenResponse {
 public:
  TakenDelta() = default;
  TakenDelta(TakenDelta&&) = default;
  TakenDelta& operator=(TakenDelta&&) = default;

  size_t size() const { return items_.size(); }
  DeltaResource resource(size_t i, std::string_view response) const;

 private:
  struct Span {
    size_t at = 0, size = 0;
    std::string_view in(std::string_view response) const { return response.substr(at, size); }
  };
  struct Item {
    Span name, version, value;
    uint64_t hash = 0;
    size_t url = 0;  // in `urls`
    const envoy::service::discovery::v3::Resource* parsed = nullptr;
  };
  bool take_resource(std::string_view bytes, size_t at) override;
  void reserve(size_t n) override { items_.reserve(n); }
  static bool take_plain(std::string_view bytes, const char* response, Item& item, std::string_view& url);

  std::vector<Item> items_;
  std::deque<envoy::service::discovery::v3::Resource> parsed_;
};

}  // namespace sluice::xds
