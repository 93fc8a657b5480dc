#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/route_actions.h"

namespace sluice::model::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

inline http::HeaderMapPtr headers(const Fields& fields) {
  auto out = http::make_headers();
  for (const auto& [name, value] : fields) out->add(std::string_view(name), value);
  return out;
}

inline std::string text(const http::HeaderMap& map) {
  std::string out;
  for (const auto& f : map)
    out += (out.empty() ? "" : "|") + std::string(f.name) + ": " + std::string(f.value);
  return out;
}

// A virtual host that forwards everything to the cluster of its name.
inline std::shared_ptr<VirtualHost> host(const std::string& name, std::vector<std::string> domains) {
  auto out = std::make_shared<VirtualHost>();
  out->name = name;
  out->domains = std::move(domains);
  Route& route = out->routes.emplace_back();
  route.path.text = "/";
  RouteAction action;
  action.cluster = name;
  route.action = std::move(action);
  return out;
}

inline std::shared_ptr<RouteConfig> config(std::shared_ptr<const VirtualHost> only) {
  auto out = std::make_shared<RouteConfig>();
  out->virtual_hosts.push_back(std::move(only));
  if (!out->index().ok()) return nullptr;
  return out;
}

}  // namespace sluice::model::test
