#pragma once

#include "config/path.h"
#include "core/result.h"
#include "model/outlier_detection.h"

namespace envoy::config::cluster::v3 {
class OutlierDetection;
}

namespace sluice::config {

Result<model::OutlierDetection> to_outlier_detection(const envoy::config::cluster::v3::OutlierDetection& in,
                                                     const FieldPath& path);

}  // namespace sluice::config
