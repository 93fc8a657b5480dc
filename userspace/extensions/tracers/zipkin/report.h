#pragma once

#include <memory>
#include <string>

#include "extensions/tracers/zipkin/collector.h"

namespace sluice::extensions::zipkin {

// Posts `body` and counts how that went. Takes care of itself.
void post(io::Loop& loop, std::shared_ptr<ext::HttpCluster> cluster, const Config& config, const Stats& stats,
          std::string_view body);

}  // namespace sluice::extensions::zipkin
