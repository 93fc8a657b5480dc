#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/cluster.h"
#include "proxy/upstream/host.h"
#include "proxy/upstream/outlier_detection.h"

namespace sluice::upstream {

// One host as the admin's /clusters shows it: who it is, and its counters summed over the threads when asked.
struct HostView {
  HostPtr host;
  uint64_t cx_active, cx_connect_fail, cx_total, rq_active, rq_error, rq_pending_active, rq_success,
      rq_timeout, rq_total;
};

// What serves: a version that warms is shown by nobody.
struct ClusterView {
  std::shared_ptr<const model::Cluster> config;  // with what an assignment says beside its endpoints
  std::string observability_name;
  bool added_via_api = false;
  bool warming = false;  // its first resolution is not over
  // External and local origin; nothing: no outlier detection.
  std::optional<std::array<OutlierDetector::SuccessRates, 2>> outlier = {};
  std::vector<HostView> hosts;
};

}  // namespace sluice::upstream
