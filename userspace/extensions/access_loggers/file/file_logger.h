#pragma once

#include <memory>

#include "extensions/access_loggers/common/formatter.h"
#include "sluice/ext/access_log.h"
#include "sluice/ext/access_log_manager.h"

namespace sluice::access_loggers {

// Renders each record and hands it to the file. Envoy's file, stdout and stderr access loggers.
class FileLogger final : public ext::AccessLogger {
 public:
  FileLogger(std::unique_ptr<Formatter> formatter, std::shared_ptr<ext::LogFile> file)
      : formatter_(std::move(formatter)), file_(std::move(file)) {}
  void log(const ext::StreamInfo& info, ext::AccessLogType type) const override;

 private:
  const std::unique_ptr<const Formatter> formatter_;
  const std::shared_ptr<ext::LogFile> file_;
};

}  // namespace sluice::access_loggers
