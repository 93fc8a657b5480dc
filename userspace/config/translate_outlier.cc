#include "config/translate_outlier.h"

#include <algorithm>

#include "config/convert.h"
#include "envoy/config/cluster/v3/outlier_detection.pb.h"

namespace sluice::config {

Result<model::OutlierDetection> to_outlier_detection(const envoy::config::cluster::v3::OutlierDetection& in,
                                                     const FieldPath& path) {
  model::OutlierDetection out;
#define SLUICE_VALUE(field) out.field = value_or(in.has_##field(), in.field(), out.field)
  SLUICE_VALUE(max_ejection_percent);
  SLUICE_VALUE(consecutive_5xx);
  SLUICE_VALUE(enforcing_consecutive_5xx);
  SLUICE_VALUE(consecutive_gateway_failure);
  SLUICE_VALUE(enforcing_consecutive_gateway_failure);
  SLUICE_VALUE(consecutive_local_origin_failure);
  SLUICE_VALUE(enforcing_consecutive_local_origin_failure);
  SLUICE_VALUE(success_rate_minimum_hosts);
  SLUICE_VALUE(success_rate_request_volume);
  SLUICE_VALUE(success_rate_stdev_factor);
  SLUICE_VALUE(enforcing_success_rate);
  SLUICE_VALUE(enforcing_local_origin_success_rate);
  SLUICE_VALUE(failure_percentage_threshold);
  SLUICE_VALUE(failure_percentage_minimum_hosts);
  SLUICE_VALUE(failure_percentage_request_volume);
  SLUICE_VALUE(enforcing_failure_percentage);
  SLUICE_VALUE(enforcing_failure_percentage_local_origin);
  SLUICE_VALUE(always_eject_one_host);
#undef SLUICE_VALUE
  if (in.has_successful_active_health_check_uneject_host())
    out.active_check_lets_in = in.successful_active_health_check_uneject_host().value();
  out.split_external_local_origin_errors = in.split_external_local_origin_errors();
  // Envoy counts milliseconds.
  if (in.has_interval()) out.interval = to_milliseconds(in.interval());
  if (in.has_base_ejection_time()) out.base_ejection_time = to_milliseconds(in.base_ejection_time());
  out.max_ejection_time = std::max(out.max_ejection_time, out.base_ejection_time);
  if (in.has_max_ejection_time()) out.max_ejection_time = to_milliseconds(in.max_ejection_time());
  if (in.has_max_ejection_time_jitter())
    out.max_ejection_time_jitter = to_milliseconds(in.max_ejection_time_jitter());
  if (out.interval.count() == 0)
    return refuse(path.field("interval"), "must be at least 1ms: hosts are looked at this often");
  if (out.max_ejection_time < out.base_ejection_time)
    return refuse(path.field("max_ejection_time"),
                  "outlier detector's max_ejection_time cannot be smaller than base_ejection_time");
  return out;
}

}  // namespace sluice::config
