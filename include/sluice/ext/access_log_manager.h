#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace sluice::ext {

// One log file (or standard output), shared by all loggers that name it. Thread-safe: a write copies into a bounded
// buffer; a thread of its own writes it out, at 64 KiB or after 1 s (Envoy's --file-flush-interval-msec is 10 s).
class LogFile {
 public:
  virtual ~LogFile() = default;
  virtual void write(std::string_view line) = 0;  // the line ends with its own newline
};

class AccessLogManager {
 public:
  virtual ~AccessLogManager() = default;
  virtual Result<std::shared_ptr<LogFile>> open(const std::string& path) = 0;
  virtual void reopen() = 0;  // admin /reopen_logs, SIGUSR1
  virtual void flush() = 0;  // blocks until everything is written
};

}  // namespace sluice::ext
