#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "model/rate_limit.h"

namespace envoy::config::route::v3 {
class RateLimit;
}
namespace google::protobuf {
template <typename T>
class RepeatedPtrField;
}

namespace sluice::extensions {

// rate_limits of virtual hosts and routes. What `disable_key` switches off is left out: nothing switches it on again.
Result<std::vector<model::RateLimit>> to_rate_limits(
    const google::protobuf::RepeatedPtrField<envoy::config::route::v3::RateLimit>& in,
    const std::string& path);
// Those of a filter's own, which have hits_addend in place of stage and disable_key.
Result<std::vector<model::RateLimit>> to_own_rate_limits(
    const google::protobuf::RepeatedPtrField<envoy::config::route::v3::RateLimit>& in,
    const std::string& path);

}  // namespace sluice::extensions
