#pragma once

#include <string_view>

#include "envoy/config/core/v3/base.pb.h"

namespace sluice::ext {
class Registry;
}

namespace sluice::xds {

// Who requests say they come from: `node`, as the bootstrap has it, with this program's name, version and extensions where it does
// not name its own (user_agent_name: envoy, for control planes that want to hear that).
envoy::config::core::v3::Node make_node(envoy::config::core::v3::Node node, const ext::Registry& registry,
                                        std::string_view version);

}  // namespace sluice::xds
