#include "extensions/access_loggers/file/file_logger.h"

namespace sluice::access_loggers {

void FileLogger::log(const ext::StreamInfo& info, ext::AccessLogType type) const {
  thread_local std::string record;  // keeps its capacity: no allocation a record
  record.clear();
  formatter_->format(info, type, record);
  file_->write(record);
}

}  // namespace sluice::access_loggers
