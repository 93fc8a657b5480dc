#pragma once

#include <google/protobuf/duration.pb.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace envoy::config::core::v3 {
class DataSource;
}

// Small conversions that several config.cc share.
namespace sluice::extensions {

// istiod means "never" by the most seconds whose nanoseconds 64 bits can hold, to which hardly a present could be added: what is
// longer than 285 years is 285 years.
inline Duration to_duration(const google::protobuf::Duration& d) {
  constexpr int64_t kMost = 9'000'000'000;  // s
  return std::chrono::seconds(std::clamp(d.seconds(), -kMost, kMost)) + std::chrono::nanoseconds(d.nanos());
}

// The bytes of an envoy.config.core.v3.DataSource: inline, from a file or from the environment.
Result<std::string> read_data_source(const envoy::config::core::v3::DataSource& source,
                                     std::string_view path);
// So many of them this thread has read from files: what was made meanwhile may be out of date where it did not change.
uint64_t files_read();

}  // namespace sluice::extensions
