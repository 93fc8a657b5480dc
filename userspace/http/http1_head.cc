#include "http/http1_head.h"

#include <array>
#include <cstring>

#include "http/http1_chars.h"

namespace sluice::http::http1 {
namespace {

// What Envoy's default parser knows; everything else is refused (allow_custom_methods is not there).
constexpr std::string_view kMethods[] = {
    "GET",     "POST",     "PUT",        "HEAD",       "DELETE",   "OPTIONS", "PATCH",
    "CONNECT", "TRACE",    "ACL",        "BIND",       "CHECKOUT", "COPY",    "LINK",
    "LOCK",    "MERGE",    "MKACTIVITY", "MKCALENDAR", "MKCOL",    "MOVE",    "MSEARCH",
    "NOTIFY",  "PROPFIND", "PROPPATCH",  "PURGE",      "QUERY",    "REBIND",  "REPORT",
    "SEARCH",  "SOURCE",   "SUBSCRIBE",  "UNBIND",     "UNLINK",   "UNLOCK",  "UNSUBSCRIBE"};

std::string_view known_method(std::string_view method) {
  for (std::string_view known : kMethods)
    if (known == method) return known;
  return {};
}

// Fields that say how a message is framed, routed, authenticated or decoded have no place behind it (RFC 9110
// section 6.5.1).
bool forbidden_trailer(std::string_view name, Name id) {
  switch (id) {
    case Name::content_length:
    case Name::transfer_encoding:
    case Name::host:
    case Name::connection:
    case Name::keep_alive:
    case Name::proxy_connection:
    case Name::upgrade:
    case Name::te:
    case Name::trailer:
    case Name::expect:
    case Name::authorization:
    case Name::cookie:
    case Name::set_cookie:
    case Name::content_type:
      return true;
    default:
      return name == "content-encoding" || name == "content-range" || name == "cache-control" ||
             name == "max-forwards" || name == "range" || name == "proxy-authorization" ||
             name == "proxy-authenticate" || name == "www-authenticate";
  }
}

constexpr Refusal kInvalidCharacters{400, "http1.invalid_characters", "control character"};
constexpr size_t kNameMax = 256;  // longer names go through the heap

}  // namespace

std::optional<uint64_t> parse_content_length(std::string_view value) {
  if (value.empty()) return std::nullopt;
  uint64_t n = 0;
  for (char c : value) {
    if (c < '0' || c > '9') return std::nullopt;
    uint64_t digit = static_cast<uint64_t>(c - '0');
    if (n > ((1ull << 63) - 1 - digit) / 10) return std::nullopt;
    n = n * 10 + digit;
  }
  return n;
}

void HeadParser::begin(Kind kind) {
  kind_ = kind;
  in_fields_ = kind == Kind::trailers;
  fields_ = 0;
  bytes_ = 0;
  partial_.clear();
  head_ = Head{};
}

void HeadParser::reset() {
  begin(kind_);
  partial_.shrink_to_fit();
}

HeadParser::Outcome HeadParser::feed(Buffer& in) {
  constexpr Refusal kTooLarge{431, "http1.headers_too_large", "headers size exceeds limit"};
  if (!head_.headers) head_.headers = make_headers();
  while (!in.empty()) {
    std::string_view view = in.chunk(0).view();
    Line line;
    if (!partial_.empty()) {
      const void* lf = std::memchr(view.data(), '\n', view.size());
      size_t n = lf ? static_cast<size_t>(static_cast<const char*>(lf) - view.data()) + 1 : view.size();
      if (bytes_ + partial_.size() + n > options_.max_headers_bytes) {
        refuse(kTooLarge);
        return Outcome::refused;
      }
      partial_.append(view.substr(0, n));
      in.drain(n);
      if (!lf) continue;
      const char* p = partial_.data();
      line = parse_line(&p, p + partial_.size());
      bytes_ += partial_.size();
      partial_.clear();
    } else {
      const char* const begin = view.data();
      const char* const end = begin + view.size();
      const char* p = begin;
      const uint64_t before = bytes_;
      do {
        line = parse_line(&p, end);
        bytes_ = before + static_cast<uint64_t>(p - begin);
        // The limit goes before what is wrong with the line that breaks it, as when it arrives in parts.
        if (bytes_ > options_.max_headers_bytes ||
            (line == Line::partial &&
             before + static_cast<uint64_t>(end - begin) > options_.max_headers_bytes))
          line = refuse(kTooLarge);
      } while (line == Line::ok);
      if (line == Line::partial) {
        partial_.assign(p, end);
        p = end;
      }
      in.drain(static_cast<size_t>(p - begin));
    }
    switch (line) {
      case Line::partial:
      case Line::ok:
        break;
      case Line::start:
        return Outcome::started;
      case Line::end:
        return Outcome::done;
      case Line::refused:
        return Outcome::refused;
    }
  }
  return Outcome::more;
}

HeadParser::Line HeadParser::parse_line(const char** p, const char* end) {
  const char* line = *p;
  if (line == end) return Line::partial;
  if (in_fields_) {
    // The quick way, one pass: the name up to its colon, then the value up to its line end.
    char name[kNameMax + 16];
    bool underscore;
    size_t n = scan_name(line, end, name, kNameMax, underscore);
    if (n > 0 && line + n < end && line[n] == ':') {
      const char* value = line + n + 1;
      const char* stop = find_value_stop(value, end);
      bool crlf = end - stop >= 2 && stop[0] == '\r' && stop[1] == '\n';
      if (crlf || (stop != end && *stop == '\n' && kind_ != Kind::trailers)) {
        *p = stop + (crlf ? 2 : 1);
        return take_field({name, n}, underscore, {value, static_cast<size_t>(stop - value)});
      }
    }
  } else if (bytes_ == 0 && !is_token_char(*line) && *line != '\r' && *line != '\n') {
    *p = line + 1;
    return refuse(
        codec_error("the first byte begins no start line"));  // a TLS handshake has no line end to wait for
  }
  const auto* lf = static_cast<const char*>(std::memchr(line, '\n', static_cast<size_t>(end - line)));
  if (!lf) return Line::partial;
  *p = lf + 1;
  const char* line_end = lf > line && lf[-1] == '\r' ? lf - 1 : lf;
  if (!in_fields_) return parse_start_line(line, line_end);
  if (std::memchr(line, 0, static_cast<size_t>(line_end - line))) return refuse(kInvalidCharacters);
  // Something stands in it that no value may hold. In a name that is another error.
  return parse_field(line, line_end, line_end != lf);
}

HeadParser::Line HeadParser::parse_start_line(const char* p, const char* end) {
  if (p == end) return Line::ok;  // empty lines before it are nothing (RFC 9112 section 2.2)
  in_fields_ = true;
  std::string_view line(p, static_cast<size_t>(end - p));
  return kind_ == Kind::request ? parse_request_line(line) : parse_status_line(line);
}

HeadParser::Line HeadParser::parse_request_line(std::string_view line) {
  size_t space = line.find(' ');
  std::string_view method = known_method(line.substr(0, space));
  if (method.empty()) return refuse(codec_error("HPE_INVALID_METHOD"));
  if (space == std::string_view::npos) return refuse(codec_error("no request target"));
  const char* begin = line.data() + space + 1;
  const char* end = line.data() + line.size();
  const char* stop = find_target_stop(begin, end);
  if (stop == end) return refuse(codec_error("no HTTP version"));
  if (*stop != ' ')
    return refuse(is_value_stop(*stop) && *stop != '\r' ? kInvalidCharacters
                                                        : codec_error("HPE_INVALID_URL"));
  if (stop == begin) return refuse(codec_error("HPE_INVALID_URL"));
  std::string_view version(stop + 1, static_cast<size_t>(end - stop - 1));
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version.size() != 8 || !version.starts_with("HTTP/") || !digit(version[5]) || version[6] != '.' ||
      !digit(version[7]))
    return refuse(codec_error("HPE_INVALID_VERSION"));
  head_.http1 = version[5] == '1';
  head_.minor = static_cast<uint8_t>(version[7] - '0');
  head_.is_connect = method == "CONNECT";
  head_.is_head = method == "HEAD";
  head_.is_options = method == "OPTIONS";
  head_.headers->add_static(Name::method, method);
  std::string_view target(begin, static_cast<size_t>(stop - begin));
  if (!head_.is_connect && target[0] == '/') {
    head_.headers->add(Name::path, target);
    head_.target = head_.headers->get(Name::path);
  } else {
    head_.target = head_.headers->store(target);
  }
  return Line::start;
}

HeadParser::Line HeadParser::parse_status_line(std::string_view line) {
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || !digit(line[7]) || line[8] != ' ' ||
      !digit(line[9]) || !digit(line[10]) || !digit(line[11]) || line[9] == '0' ||
      (line.size() > 12 && line[12] != ' '))
    return refuse(codec_error("invalid status line"));
  if (find_value_stop(line.data() + 12, line.data() + line.size()) != line.data() + line.size())
    return refuse(kInvalidCharacters);
  head_.minor = static_cast<uint8_t>(line[7] - '0');
  head_.status = static_cast<uint16_t>((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
  head_.headers->add(Name::status, line.substr(9, 3));
  return Line::start;
}

HeadParser::Line HeadParser::parse_field(const char* p, const char* end, bool crlf) {
  if (p == end) {
    if (kind_ == Kind::trailers && !crlf) return refuse(codec_error("a chunked body ends without CRLF"));
    return Line::end;
  }
  if (kind_ == Kind::trailers && !crlf) return refuse(codec_error("a trailer ends without CRLF"));
  // What is left for here: lines with something wrong in them, and very long names.
  std::string name(static_cast<size_t>(end - p) + 16, ' ');
  bool underscore;
  size_t n = scan_name(p, end, name.data(), static_cast<size_t>(end - p), underscore);
  if (n == 0 || p + n == end || p[n] != ':')
    return refuse(codec_error(*p == ' ' || *p == '\t' ? "a folded line" : "HPE_INVALID_HEADER_TOKEN"));
  std::string_view value(p + n + 1, static_cast<size_t>(end - p) - n - 1);
  if (find_value_stop(value.data(), end) != end) return refuse(kInvalidCharacters);
  return take_field({name.data(), n}, underscore, value);
}

HeadParser::Line HeadParser::take_field(std::string_view name, bool underscore, std::string_view value) {
  if (++fields_ > options_.max_headers_count)
    return refuse({431, "http1.too_many_headers", "headers count exceeds limit"});
  if (underscore && kind_ == Kind::request && options_.underscores != UnderscoreAction::allow) {
    if (options_.underscores == UnderscoreAction::reject_request) {
      stats_.requests_rejected_with_underscores_in_headers.add();
      return refuse({400, "http1.unexpected_underscore", "header name contains underscores"});
    }
    stats_.dropped_headers_with_underscores.add();
    return Line::ok;
  }
  return store_field(name, trim(value));
}

HeadParser::Line HeadParser::store_field(std::string_view name, std::string_view value) {
  HeaderMap& headers = *head_.headers;
  if (kind_ == Kind::trailers) {
    if (!forbidden_trailer(name, find_name(name))) headers.add(name, value);
    return Line::ok;
  }
  if (name.size() == 4 && kind_ == Kind::request && name == "host") {
    if (head_.host_seen || !is_authority(value))
      return refuse({400, "http.invalid_authority", head_.host_seen ? "two Host fields" : "invalid Host"});
    head_.host_seen = true;
    headers.add(Name::authority, value);
    return Line::ok;
  }
  if (name.size() == 17 && name == "transfer-encoding") {
    head_.encoding_bad |= head_.encoding_seen || !equals_ignoring_case(value, "chunked");
    head_.encoding_seen = true;
    return Line::ok;
  }
  headers.add(name, value);
  if ((headers.end() - 1)->id == Name::content_length) {
    std::optional<uint64_t> length = parse_content_length(value);
    head_.length_bad |= head_.length_seen || !length;
    head_.length_seen = true;
    head_.length = length.value_or(0);
  }
  return Line::ok;
}

}  // namespace sluice::http::http1
