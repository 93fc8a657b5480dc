#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/time.h"

namespace sluice::model {

// envoy.config.cluster.v3.OutlierDetection. Defaults are Envoy's; enforcing_* are percent.
struct OutlierDetection {
  Duration interval = std::chrono::seconds(10);
  Duration base_ejection_time = std::chrono::seconds(30);
  Duration max_ejection_time = std::chrono::seconds(300);
  Duration max_ejection_time_jitter{};
  uint32_t max_ejection_percent = 10;
  bool always_eject_one_host = false;
  bool active_check_lets_in = true;  // successful_active_health_check_uneject_host
  bool split_external_local_origin_errors = false;

  uint32_t consecutive_5xx = 5, enforcing_consecutive_5xx = 100;
  uint32_t consecutive_gateway_failure = 5, enforcing_consecutive_gateway_failure = 0;
  uint32_t consecutive_local_origin_failure = 5, enforcing_consecutive_local_origin_failure = 100;

  uint32_t success_rate_minimum_hosts = 5, success_rate_request_volume = 100;
  uint32_t success_rate_stdev_factor = 1900;  // thousandths
  uint32_t enforcing_success_rate = 100, enforcing_local_origin_success_rate = 100;

  uint32_t failure_percentage_threshold = 85;
  uint32_t failure_percentage_minimum_hosts = 5, failure_percentage_request_volume = 50;
  uint32_t enforcing_failure_percentage = 0, enforcing_failure_percentage_local_origin = 0;
};

}  // namespace sluice::model
