#include "extensions/filters/listener/http_inspector/http_inspector.h"

#include <algorithm>

#include "core/log.h"

namespace sluice::extensions::http_inspector {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

bool alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool blank(char c) {
  return static_cast<unsigned char>(c) <= ' ';
}
// RFC 9110 section 5.6.2.
bool token(char c) {
  return alpha(c) || digit(c) ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}
bool visible(char c) {
  return c > ' ' && c < 0x7f;
}

// Takes the next word off `line`.
std::string_view next_word(std::string_view& line) {
  auto begin = std::find_if_not(line.begin(), line.end(), blank);
  auto end = std::find_if(begin, line.end(), blank);
  std::string_view word(begin, end);
  line = std::string_view(end, line.end());
  return word;
}

// A path, "*", an absolute URI, or (CONNECT) host and port: RFC 9112 section 3.2.
bool valid_target(std::string_view target, bool connect) {
  if (target.empty() || !std::all_of(target.begin(), target.end(), visible)) return false;
  if (target[0] == '/' || target[0] == '*' || connect) return true;
  if (!alpha(target[0])) return false;
  auto scheme_end = std::find_if_not(target.begin(), target.end(), [](char c) {
    return alpha(c) || digit(c) || c == '+' || c == '-' || c == '.';
  });
  return std::string_view(scheme_end, target.end()).starts_with("://");
}

Detected detect_line(std::string_view line) {
  std::string_view method = next_word(line), target = next_word(line), version = next_word(line);
  if (!valid_target(target, method == "CONNECT") || !next_word(line).empty()) return Detected::not_http;
  if (version.empty()) return Detected::http10;
  if (version.size() != 8 || !version.starts_with("HTTP/") || !digit(version[5]) || version[6] != '.' ||
      !digit(version[7]))
    return Detected::not_http;
  return version == "HTTP/1.1" ? Detected::http11 : Detected::http10;
}

struct Stats {
  explicit Stats(const stats::Scope& s)
      : read_error(s.counter("read_error")),
        http10_found(s.counter("http10_found")),
        http11_found(s.counter("http11_found")),
        http2_found(s.counter("http2_found")),
        http_not_found(s.counter("http_not_found")) {}
  stats::Counter read_error, http10_found, http11_found, http2_found, http_not_found;
};

class HttpInspector final : public ext::ListenerFilter {
 public:
  explicit HttpInspector(Stats& stats) : stats_(stats) {}

  ext::ListenerFilterStatus on_accept(ext::ListenerFilterContext& context) override {
    const std::string& transport = context.stream_info().transport_protocol;
    // Whatever is inside of TLS cannot be seen.
    bool readable = transport.empty() || transport == "raw_buffer";
    return readable ? ext::ListenerFilterStatus::need_data : ext::ListenerFilterStatus::proceed;
  }

  ext::ListenerFilterStatus on_data(ext::ListenerFilterContext& context, std::string_view bytes,
                                    bool) override {
    switch (detect(bytes)) {
      case Detected::need_more:
        if (bytes.size() >= kMaxBytes) {
          stats_.read_error.add();
          SLUICE_LOG(filter, debug, "[C{}] no request line within {} bytes",
                     context.stream_info().connection_id, kMaxBytes);
          return ext::ListenerFilterStatus::reject;
        }
        return ext::ListenerFilterStatus::need_data;
      case Detected::not_http:
        stats_.http_not_found.add();
        return ext::ListenerFilterStatus::proceed;
      case Detected::http10:
        return found(context, stats_.http10_found, "http/1.0");
      case Detected::http11:
        return found(context, stats_.http11_found, "http/1.1");
      case Detected::http2:
        return found(context, stats_.http2_found, "h2c");
    }
    return ext::ListenerFilterStatus::proceed;
  }

  size_t max_bytes() const override { return kMaxBytes; }

 private:
  static ext::ListenerFilterStatus found(ext::ListenerFilterContext& context, stats::Counter& counter,
                                         std::string_view protocol) {
    counter.add();
    context.stream_info().application_protocols = {std::string(protocol)};
    return ext::ListenerFilterStatus::proceed;
  }

  Stats& stats_;
};

}  // namespace

Detected detect(std::string_view bytes) {
  if (bytes.substr(0, kPreface.size()) == kPreface.substr(0, bytes.size()))
    return bytes.size() >= kPreface.size() ? Detected::http2 : Detected::need_more;
  size_t end = bytes.find('\n');
  if (end == 0 || bytes[0] == '\r') return Detected::not_http;
  std::string_view line = bytes.substr(0, end);
  // What cannot be a method needs no whole line to be refused: TLS and binary protocols may never send one.
  auto method_end = std::find_if_not(line.begin(), line.end(), token);
  if (method_end == line.begin() || (method_end != line.end() && !blank(*method_end)))
    return Detected::not_http;
  if (end == bytes.npos) return Detected::need_more;
  return detect_line(line);
}

ext::ListenerFilterFactory make_factory() {
  return [](stats::Scope scope) -> ext::ListenerFilterMaker {
    auto root = stats::Scope(scope.store(), scope.slot(), "");
    auto stats = std::make_shared<Stats>(root.scope("http_inspector"));
    return [stats] { return std::make_unique<HttpInspector>(*stats); };
  };
}

}  // namespace sluice::extensions::http_inspector
