#include "http/http1_request.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "core/ascii.h"
#include "http/http1_chars.h"

namespace sluice::http::http1 {
namespace {

constexpr Refusal kInvalidUrl{400, "http1.invalid_url", "invalid url in request line"};
constexpr Refusal kConnectionRejected{400, "http1.connection_header_rejected",
                                      "invalid nominated headers in Connection"};
// Envoy's limits (Utility::sanitizeConnectionHeader).
constexpr size_t kNominatedMax = 10;
constexpr size_t kTeMax = 256;

// host [":" port]; with `port_needed`, host ":" port (RFC 9112 section 3.2.3).
bool is_host_and_port(std::string_view s, bool port_needed) {
  if (s.empty() || !is_authority(s)) return false;
  size_t host_end;
  if (s[0] == '[') {
    host_end = s.find(']');
    if (host_end == std::string_view::npos || host_end == 1) return false;
    ++host_end;
  } else {
    host_end = std::min(s.find(':'), s.size());
    if (s.find_first_of("[]") != std::string_view::npos) return false;
  }
  if (host_end == 0) return false;
  if (host_end == s.size()) return !port_needed;
  if (s[host_end] != ':') return false;
  std::string_view port = s.substr(host_end + 1);
  uint32_t number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return error == std::errc{} && end == port.data() + port.size() && number <= 65535;
}

// scheme "://" authority [path] (RFC 9112 section 3.2.2). What it says goes before the Host field.
std::optional<Refusal> take_absolute_form(Head& head) {
  std::string_view target = head.target;
  size_t colon = target.find("://");
  auto is_alpha = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  if (colon == std::string_view::npos || colon == 0 ||
      !std::all_of(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(colon), is_alpha))
    return codec_error("HPE_INVALID_URL");
  std::string_view scheme = target.substr(0, colon);
  bool https = equals_ignoring_case(scheme, "https");
  if (!https && !equals_ignoring_case(scheme, "http"))
    return Refusal{400, "http1.invalid_scheme", "a scheme other than http and https"};
  std::string_view rest = target.substr(colon + 3);
  size_t path_begin = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, path_begin);
  std::string_view path = rest.substr(path_begin);
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  if (!is_host_and_port(authority, false)) return kInvalidUrl;
  HeaderMap& headers = *head.headers;
  headers.set(Name::authority, authority);
  headers.set_static(Name::scheme, https ? "https" : "http");
  if (!path.empty() && path[0] == '/') {
    headers.set_static(Name::path, path);  // lies in the map's memory
  } else {
    char* p = headers.allocate(path.size() + 1);
    *p = '/';
    std::copy(path.begin(), path.end(), p + 1);
    headers.set_static(Name::path, {p, path.size() + 1});
  }
  return std::nullopt;
}

std::optional<Refusal> take_target(Head& head, const Http1Options& options) {
  HeaderMap& headers = *head.headers;
  if (head.is_connect) {
    if (!is_host_and_port(head.target, true)) return kInvalidUrl;
    headers.set_static(Name::authority, head.target);
    return std::nullopt;
  }
  if (head.target[0] == '/') return std::nullopt;  // in the map since the request line
  if (head.target[0] == '*') {
    if (!head.is_options || head.target.size() != 1) return kInvalidUrl;
    headers.add_static(Name::path, "*");
    return std::nullopt;
  }
  if (options.allow_absolute_url) return take_absolute_form(head);
  headers.add_static(Name::path, head.target);
  return std::nullopt;
}

// "Connection: a, b": makes the fields a and b vanish, as they are for this hop. Some may not be named, since taking them
// away would change what the request is about (Envoy: Utility::sanitizeConnectionHeader).
std::optional<Refusal> sanitize_connection(HeaderMap& headers) {
  std::string scratch;
  std::string_view list = *headers.joined("connection", scratch);
  size_t tokens = 0;
  bool rejected = false, nominated = false;
  for_each_element(list, [&](std::string_view option) {
    ++tokens;
    if (option[0] == ':' || equals_ignoring_case(option, "x-forwarded-for") ||
        equals_ignoring_case(option, "x-forwarded-host") || equals_ignoring_case(option, "x-forwarded-proto"))
      rejected = true;
    nominated |= !equals_ignoring_case(option, "close") && !equals_ignoring_case(option, "keep-alive") &&
                 !equals_ignoring_case(option, "upgrade") && !equals_ignoring_case(option, "http2-settings");
  });
  if (rejected || tokens >= kNominatedMax) return kConnectionRejected;
  if (!nominated) return std::nullopt;
  std::string kept;
  auto keep = [&](std::string_view option) {
    if (!kept.empty()) kept += ',';
    kept += option;
  };
  bool te_too_long = false;
  for_each_element(list, [&](std::string_view option) {
    if (equals_ignoring_case(option, "close") || equals_ignoring_case(option, "keep-alive") ||
        equals_ignoring_case(option, "upgrade") || equals_ignoring_case(option, "http2-settings"))
      return keep(option);
    if (equals_ignoring_case(option, "connection")) return;
    if (equals_ignoring_case(option, "host")) {
      headers.remove(Name::authority);
      return;
    }
    if (equals_ignoring_case(option, "te") && headers.has(Name::te)) {
      std::string te_scratch;
      std::string_view te = *headers.joined("te", te_scratch);
      te_too_long |= te.size() >= kTeMax;
      bool trailers = false;
      for_each_element(te, [&](std::string_view coding) {
        trailers |= equals_ignoring_case(trim(coding.substr(0, coding.find(';'))), "trailers");
      });
      if (trailers) {
        headers.set_static(Name::te, "trailers");
        return keep(option);
      }
    }
    headers.remove(to_lower(option));
  });
  if (te_too_long) return kConnectionRejected;
  if (kept.empty())
    headers.remove(Name::connection);
  else
    headers.set(Name::connection, kept);
  return std::nullopt;
}

void drop_upgrade(HeaderMap& headers) {
  headers.remove(Name::upgrade);
  headers.remove(Name::http2_settings);
  std::string scratch, kept;
  std::optional<std::string_view> list = headers.joined("connection", scratch);
  if (!list) return;
  for_each_element(*list, [&](std::string_view option) {
    if (equals_ignoring_case(option, "upgrade") || equals_ignoring_case(option, "http2-settings")) return;
    if (!kept.empty()) kept += ',';
    kept += option;
  });
  if (kept.empty())
    headers.remove(Name::connection);
  else
    headers.set(Name::connection, kept);
}

}  // namespace

ConnectionOptions connection_options(const HeaderMap& headers) {
  ConnectionOptions found;
  auto look = [&](Name name) {
    if (!headers.has(name)) return;
    for (const HeaderMap::Field& f : headers) {
      if (f.id != name) continue;
      for_each_element(f.value, [&](std::string_view option) {
        found.close |= equals_ignoring_case(option, "close");
        found.keep_alive |= equals_ignoring_case(option, "keep-alive");
        found.upgrade |= name == Name::connection && equals_ignoring_case(option, "upgrade");
      });
    }
  };
  look(Name::connection);
  look(Name::proxy_connection);  // as Envoy does
  return found;
}

bool is_upgrade(const HeaderMap& headers) {
  return headers.has(Name::upgrade) && !headers.get(Name::upgrade).empty() &&
         connection_options(headers).upgrade;
}

std::optional<Refusal> plan_request(Head& head, const Http1Options& options, RequestPlan& plan) {
  HeaderMap& headers = *head.headers;
  const bool http11 = head.http1 && head.minor == 1;
  if (!http11 && !(head.http1 && head.minor == 0 && options.accept_http_10))
    return Refusal{426, "low_version", "a version other than HTTP/1.1"};
  if (head.encoding_seen) {
    constexpr Refusal kNotImplemented{501, "http1.invalid_transfer_encoding",
                                      "unsupported transfer encoding"};
    if (head.length_seen) {
      // RFC 9112 section 6.3: one of the two may be there to deceive somebody.
      if (!options.allow_chunked_length)
        return Refusal{400, "http1.content_length_and_chunked_not_allowed",
                       "both Content-Length and Transfer-Encoding are set"};
      headers.remove(Name::content_length);
    }
    if (head.encoding_bad || head.is_connect) return kNotImplemented;
    // RFC 9112 section 6.1: faulty framing.
    if (!http11) return Refusal{400, "http1.invalid_transfer_encoding", "Transfer-Encoding with HTTP/1.0"};
    plan.chunked = true;
  } else if (head.length_seen) {
    if (head.length_bad) return codec_error("INVALID_CONTENT_LENGTH");
    plan.length = head.length;
    if (head.is_connect && plan.length > 0)
      return Refusal{400, "http1.body_disallowed", "unsupported content length"};
    if (head.is_connect) headers.remove(Name::content_length);
  }
  const ConnectionOptions wanted = connection_options(headers);
  plan.close = wanted.close || (!http11 && !wanted.keep_alive);
  if (head.is_connect) {
    plan.upgrade = true;
  } else if (headers.has(Name::upgrade)) {
    // An offer may be left unanswered (RFC 9110 section 7.8): that of h2c; one in HTTP/1.0; one with a body, whose end
    // and the beginning of the raw data two parties could see in two places.
    if (http11 && is_upgrade(headers) && !plan.chunked && plan.length == 0 &&
        !equals_ignoring_case(headers.get(Name::upgrade), "h2c"))
      plan.upgrade = true;
    else
      drop_upgrade(headers);
  }
  if (headers.has(Name::connection) && !plan.upgrade)
    if (auto refusal = sanitize_connection(headers)) return refusal;
  if (auto refusal = take_target(head, options)) return refusal;
  if (!http11 && !headers.has(Name::authority) && !options.default_host_for_http_10.empty())
    headers.add(Name::authority, options.default_host_for_http_10);
  return std::nullopt;
}

}  // namespace sluice::http::http1
