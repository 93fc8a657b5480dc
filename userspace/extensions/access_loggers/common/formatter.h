#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/result.h"
#include "extensions/access_loggers/common/operators.h"
#include "sluice/ext/stream_info.h"

namespace sluice::access_loggers {

// Turns a stream into one record. Immutable, used by all workers. Appends to the caller's buffer and
// allocates nothing else once that buffer has grown to the size of a record.
class Formatter {
 public:
  virtual ~Formatter() = default;
  virtual void format(const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const = 0;
};

// Envoy's default format; ends with a newline.
extern const std::string_view kDefaultFormat;

struct FormatOptions {
  bool omit_empty_values = false;  // "" for "-" in text; no member in JSON
};

Result<std::unique_ptr<Formatter>> make_text_formatter(std::string_view format,
                                                       const FormatOptions& options = {});

// A json_format: google.protobuf.Struct without protobuf. Strings are formats.
struct JsonTemplate {
  using List = std::vector<JsonTemplate>;
  using Object = std::map<std::string, JsonTemplate>;  // sorted: the order in which Envoy writes members
  std::variant<std::nullptr_t, bool, double, std::string, List, Object> value = nullptr;
};

// Writes one line: members sorted by name; a string that is one operator takes the operator's type (number,
// string, or null where there is none). Errors begin with the member's path.
Result<std::unique_ptr<Formatter>> make_json_formatter(const JsonTemplate& root,
                                                       const FormatOptions& options = {});

}  // namespace sluice::access_loggers
