#pragma once

#include <memory>
#include <string>

#include "extensions/common/rbac/engine.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::http_rbac {

// envoy.extensions.filters.http.rbac.v3.RBAC, of the filter or of a route (RBACPerRoute; without engines it lets
// everything pass).
struct Settings final : ext::HttpRouteConfig {
  rbac::EnginePtr rules, shadow_rules;  // null: none
  std::string rules_prefix, shadow_rules_prefix;  // of statistics and of metadata keys
  bool track_per_rule = false;
};

// Lets requests pass or answers 403.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rbac_filter
ext::HttpFilterFactory make_factory(std::shared_ptr<const Settings> settings);

}  // namespace sluice::extensions::http_rbac
