#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "http/header_map.h"
#include "model/dependency.h"
#include "model/route.h"

// A connection manager's routes by request: some of its headers make a key, and the scope of that key has the routes.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_routing#arch-overview-http-routing-route-scope
namespace sluice::model {

// One part of a request's key: ScopedRoutes.ScopeKeyBuilder.FragmentBuilder with its header_value_extractor.
struct ScopeKeyFragment {
  struct Pair {
    std::string separator, key;
  };
  std::string header;  // in lower case; its first value counts
  std::string element_separator;  // "": the value is one element
  std::variant<uint32_t, Pair>
      element;  // by index; or what follows `key` in the first element that begins with it
};

// Keys are texts in which no two lists of fragments look alike.
void add_to_scope_key(std::string_view fragment, std::string& key);
// False: a part is missing, the request has no scope.
bool make_scope_key(const std::vector<ScopeKeyFragment>& parts, const http::HeaderMap& headers,
                    std::string& key);

// envoy.config.route.v3.ScopedRouteConfiguration.
struct ScopedRoute {
  std::string name, key;
  std::string route_config_name;  // by RDS; or, "",
  std::shared_ptr<const RouteConfig> routes;
};

// Routes that are there.
class FixedRoutes final : public RouteSource {
 public:
  explicit FixedRoutes(std::shared_ptr<const RouteConfig> config) : config_(std::move(config)) {}
  bool ready() const override { return true; }
  std::string what() const override { return config_->name; }
  uint64_t generation() const override { return 1; }
  std::shared_ptr<const RouteConfig> current() const override { return config_; }

 private:
  const std::shared_ptr<const RouteConfig> config_;
};

struct Scope {
  std::string name;
  std::shared_ptr<const RouteSource> routes;
  // What served the scope until now, as long as `routes` has nothing yet; null: nothing did, or does any more.
  std::shared_ptr<const RouteSource> before;
};

struct ScopeTable {
  std::unordered_map<std::string, Scope> by_key;
};

// Where a connection manager takes its scopes from. Asked as a RouteSource is.
class ScopeSource : public Dependency {
 public:
  virtual uint64_t generation() const = 0;
  virtual std::shared_ptr<const ScopeTable> current() const = 0;  // null: not there yet
};

}  // namespace sluice::model
