#pragma once

#include <memory>

#include "sluice/ext/stream_info.h"

namespace sluice::ext {

// Writes one record. Shared by all workers: const and thread-safe; never blocks a worker on a disk.
class AccessLogger {
 public:
  virtual ~AccessLogger() = default;
  virtual void log(const StreamInfo& info, AccessLogType type) const = 0;
};
using AccessLoggerPtr = std::shared_ptr<const AccessLogger>;

}  // namespace sluice::ext
