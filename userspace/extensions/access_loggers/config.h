#pragma once

#include "sluice/ext/registry.h"

namespace envoy::config::accesslog::v3 {
class AccessLog;
class AccessLogFilter;
}  // namespace envoy::config::accesslog::v3

namespace sluice::access_loggers {

ext::Extension<ext::AccessLoggerPtr> file_extension();
ext::Extension<ext::AccessLoggerPtr> stdout_extension();
ext::Extension<ext::AccessLoggerPtr> stderr_extension();

// `logger` behind the `filter` of its AccessLog entry, where there is one; `path` is the entry's.
Result<ext::AccessLoggerPtr> apply_filter(const envoy::config::accesslog::v3::AccessLog& entry,
                                          ext::AccessLoggerPtr logger, std::string_view path);

}  // namespace sluice::access_loggers
