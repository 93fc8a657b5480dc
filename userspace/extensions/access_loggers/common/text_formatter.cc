#include "extensions/access_loggers/common/formatter.h"

namespace sluice::access_loggers {

const std::string_view kDefaultFormat =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
    "\"%UPSTREAM_HOST%\"\n";

namespace {

class TextFormatter final : public Formatter {
 public:
  TextFormatter(std::vector<Operator> operators, bool omit_empty)
      : operators_(std::move(operators)), omit_empty_(omit_empty) {}

  void format(const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const override {
    for (const Operator& op : operators_) {
      if (!op.append(info, type, out) && !omit_empty_) out += '-';
    }
  }

 private:
  const std::vector<Operator> operators_;
  const bool omit_empty_;
};

}  // namespace

Result<std::unique_ptr<Formatter>> make_text_formatter(std::string_view format,
                                                       const FormatOptions& options) {
  SLUICE_ASSIGN(auto operators, parse_format(format));
  return std::unique_ptr<Formatter>(
      std::make_unique<TextFormatter>(std::move(operators), options.omit_empty_values));
}

}  // namespace sluice::access_loggers
