#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/stats.h"
#include "server/admin/stats_handler.h"

namespace sluice::admin {

enum class BucketMode : uint8_t { summary, cumulative, disjoint };

// Envoy's default histogram buckets (upper bounds), in the metric's own unit.
inline constexpr std::array kBucketBounds = {0.5,    1.,      5.,      10.,      25.,     50.,    100.,
                                             250.,   500.,    1000.,   2500.,    5000.,   10000., 30000.,
                                             60000., 300000., 600000., 1800000., 3600000.};
inline constexpr std::array kQuantiles = {0., 25., 50., 75., 90., 95., 99., 99.5, 99.9, 100.};

using Metrics = std::vector<stats::MetricSnapshot>;
std::string print_text(const Metrics& metrics, const StatsHandler::Intervals& intervals, BucketMode mode);
std::string print_json(const Metrics& metrics, const StatsHandler::Intervals& intervals, BucketMode mode);
std::string print_prometheus(const Metrics& metrics, bool text_readouts);

}  // namespace sluice::admin
