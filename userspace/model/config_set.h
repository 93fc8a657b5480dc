#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/cluster.h"
#include "model/listener.h"

namespace sluice::model {

// All that a worker needs to serve connections: immutable, shared by pointer. A connection keeps the set it started with.
struct ConfigSet {
  uint64_t generation = 0;
  std::vector<std::shared_ptr<const Listener>> listeners;
  std::vector<std::shared_ptr<const Cluster>> clusters;
};

}  // namespace sluice::model
