#pragma once

#include <memory>
#include <string_view>

#include "model/cluster.h"

namespace sluice::config {

// What nearly all endpoints of control planes are made of, from the bytes of an
// envoy.config.endpoint.v3.ClusterLoadAssignment and without a message of it, which costs five times as much: IP addresses,
// host names, health, weights, localities, priorities, metadata. Where anything else is said, and where anything is wrong,
// null: Resources::assignment() decides. The unit tests put the same bytes to both.
std::shared_ptr<const model::Assignment> read_plain_assignment(std::string_view bytes);

}  // namespace sluice::config
