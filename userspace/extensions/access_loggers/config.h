#pragma once

#include "sluice/ext/registry.h"

namespace envoy::config::accesslog::v3 {
class AccessLog;
class AccessLogFilter;
}  // namespace envoy::config::accesslog::v3

namespace envoy::config::core::v3 {
class SubstitutionFormatString;
}

namespace sluice::access_loggers {

class Filter;
class Formatter;

ext::Extension<ext::AccessLoggerPtr> file_extension();
ext::Extension<ext::AccessLoggerPtr> stdout_extension();
ext::Extension<ext::AccessLoggerPtr> stderr_extension();

// A format of any kind; `path` is the message's.
Result<std::unique_ptr<Formatter>> make_formatter(
    const envoy::config::core::v3::SubstitutionFormatString& format, const std::string& path);

// A filter alone; `path` is its own.
Result<std::unique_ptr<const Filter>> make_filter(const envoy::config::accesslog::v3::AccessLogFilter& filter,
                                                  const std::string& path);

// `logger` behind the `filter` of its AccessLog entry, where there is one; `path` is the entry's.
Result<ext::AccessLoggerPtr> apply_filter(const envoy::config::accesslog::v3::AccessLog& entry,
                                          ext::AccessLoggerPtr logger, std::string_view path);

}  // namespace sluice::access_loggers
