#include "extensions/common/proto_util.h"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "envoy/config/core/v3/base.pb.h"

namespace sluice::extensions {

namespace {
thread_local uint64_t files = 0;
}

uint64_t files_read() {
  return files;
}

Result<std::string> read_data_source(const envoy::config::core::v3::DataSource& source,
                                     std::string_view path) {
  using Source = envoy::config::core::v3::DataSource;
  switch (source.specifier_case()) {
    case Source::kInlineString:
      return source.inline_string();
    case Source::kInlineBytes:
      return source.inline_bytes();
    case Source::kFilename: {
      ++files;
      std::ifstream in(source.filename(), std::ios::binary);
      if (!in) return errno_error(errno, std::string(path) + ".filename: " + source.filename());
      std::ostringstream out;
      out << in.rdbuf();
      return std::move(out).str();
    }
    case Source::kEnvironmentVariable: {
      const char* value = std::getenv(source.environment_variable().c_str());
      if (!value)
        return Error{std::string(path) + ".environment_variable: " + source.environment_variable() +
                     " is not set"};
      return std::string(value);
    }
    case Source::SPECIFIER_NOT_SET:
      return Error{std::string(path) +
                   ": one of inline_string, inline_bytes, filename, environment_variable is needed"};
  }
  return Error{std::string(path) + ": unknown kind of data source"};
}

}  // namespace sluice::extensions
