#pragma once

#include <memory>
#include <string>

#include "core/time.h"
#include "extensions/common/rbac/engine.h"
#include "sluice/ext/network_filter.h"

namespace sluice::extensions::network_rbac {

// envoy.extensions.filters.network.rbac.v3.RBAC.
struct Settings {
  rbac::EnginePtr rules, shadow_rules;  // null: none
  std::string stat_prefix, shadow_rules_prefix;
  bool continuous = false;  // asks with every piece of data, not with the first alone
  Duration delay_deny{};  // 0: closes at once
};

// Lets connections pass or closes them. Decides when the first bytes (or the end) come, when a TLS peer is known; what is
// behind it in the chain has seen the connection by then.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/rbac_filter
ext::NetworkFilterFactory make_factory(std::shared_ptr<const Settings> settings);

}  // namespace sluice::extensions::network_rbac
