#pragma once

#include "core/port_set.h"

namespace envoy::config::listener::v3 {
class ListenerFilterChainMatchPredicate;
}

namespace sluice::config {

// The destinations that a filter_disabled is true of: all that it can ask for is their port.
PortSet to_port_set(const envoy::config::listener::v3::ListenerFilterChainMatchPredicate& in);

}  // namespace sluice::config
