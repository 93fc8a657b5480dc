#include "extensions/filters/network/http_connection_manager/path.h"

#include <array>
#include <charconv>
#include <cstdint>

namespace sluice::extensions::http_connection_manager {
namespace {

using http::HeaderMap;
using http::Name;

// What becomes of a character of a path.
enum Kind : uint8_t {
  pass,    // as it is; an escaped one stays escaped
  plain,   // as it is; an escape of it is undone (unreserved, RFC 3986 section 2.3)
  escape,  // is escaped
};

constexpr std::array<Kind, 256> make_kinds() {
  std::array<Kind, 256> k{};
  for (unsigned c = 0; c < 256; ++c) k[c] = c <= ' ' || c >= 0x7f ? escape : pass;
  for (char c : {'"', '#', '<', '>', '?', '^', '`', '{', '|', '}'}) k[static_cast<unsigned char>(c)] = escape;
  for (char c = '0'; c <= '9'; ++c) k[static_cast<unsigned char>(c)] = plain;
  for (char c = 'a'; c <= 'z'; ++c) k[static_cast<unsigned char>(c)] = plain;
  for (char c = 'A'; c <= 'Z'; ++c) k[static_cast<unsigned char>(c)] = plain;
  for (char c : {'-', '.', '_', '~'}) k[static_cast<unsigned char>(c)] = plain;
  return k;
}
constexpr auto kKinds = make_kinds();

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte that s[i] to s[i + 2] escape; -1: none.
int unescaped(std::string_view s, size_t i) {
  if (i + 2 >= s.size() || s[i] != '%') return -1;
  int high = hex(s[i + 1]), low = hex(s[i + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool is_slash(char c) {
  return c == '/' || c == '\\';
}

// Length of "." or "%2e" at s[i]; 0: neither.
size_t dot(std::string_view s, size_t i) {
  if (i < s.size() && s[i] == '.') return 1;
  return unescaped(s, i) == '.' ? 3 : 0;
}

std::string_view query_of(std::string_view path) {
  size_t q = path.find('?');
  return q == std::string_view::npos ? std::string_view{} : path.substr(q);
}

}  // namespace

std::optional<std::string> canonical_path(std::string_view path) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(path.size() + 8);
  if (path.empty() || !is_slash(path[0])) out = "/";
  for (size_t i = 0; i < path.size();) {
    char c = path[i];
    // A segment of one or two dots.
    if (!out.empty() && out.back() == '/') {
      size_t one = dot(path, i);
      if (one > 0) {
        size_t end = i + one;
        if (end == path.size() || is_slash(path[end])) {
          i = end + (end < path.size());
          continue;
        }
        size_t two = dot(path, end);
        if (two > 0 && (end + two == path.size() || is_slash(path[end + two]))) {
          end += two;
          if (out.size() > 1) out.resize(out.rfind('/', out.size() - 2) + 1);
          i = end + (end < path.size());
          continue;
        }
      }
    }
    if (is_slash(c)) {
      out += '/';
      ++i;
      continue;
    }
    if (c == '%') {
      int byte = unescaped(path, i);
      if (byte == 0) return std::nullopt;
      if (byte < 0) {
        out += c;
        ++i;
        continue;
      }
      if (kKinds[static_cast<size_t>(byte)] == plain)
        out += static_cast<char>(byte);
      else
        out.append(path.substr(i, 3));
      i += 3;
      continue;
    }
    auto u = static_cast<unsigned char>(c);
    if (u == 0) return std::nullopt;
    if (kKinds[u] == escape) {
      out += '%';
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
    ++i;
  }
  return out;
}

std::string merge_slashes(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  for (char c : path)
    if (c != '/' || out.empty() || out.back() != '/') out += c;
  return out;
}

std::optional<std::string> unescape_slashes(std::string_view path) {
  std::string out;
  bool found = false;
  for (size_t i = 0; i < path.size(); ++i) {
    int byte = unescaped(path, i);
    if (byte == '/' || byte == '\\') {
      out += static_cast<char>(byte);
      i += 2;
      found = true;
    } else {
      out += path[i];
    }
  }
  if (!found) return std::nullopt;
  return out;
}

PathVerdict normalize_path(const Settings& settings, HeaderMap& headers) {
  std::string_view whole = headers.get(Name::path);
  if (whole.empty()) return PathVerdict::proceed;
  if (whole.find('#') != std::string_view::npos) return PathVerdict::reject;
  if (!settings.normalize_path && !settings.merge_slashes && settings.escaped_slashes == EscapedSlashes::keep)
    return PathVerdict::proceed;
  const std::string_view query = query_of(whole);
  const std::string_view before = whole.substr(0, whole.size() - query.size());
  std::string path(before);
  PathVerdict verdict = PathVerdict::proceed;
  if (settings.escaped_slashes != EscapedSlashes::keep) {
    if (auto plain = unescape_slashes(path)) {
      if (settings.escaped_slashes == EscapedSlashes::reject) return PathVerdict::reject;
      if (settings.escaped_slashes == EscapedSlashes::unescape_and_redirect) verdict = PathVerdict::redirect;
      path = std::move(*plain);
    }
  }
  if (settings.normalize_path) {
    auto canonical = canonical_path(path);
    if (!canonical) return PathVerdict::reject;
    path = std::move(*canonical);
  }
  if (settings.merge_slashes && path.find("//") != std::string::npos) path = merge_slashes(path);
  if (path != before) headers.set(Name::path, path.append(query));
  return verdict;
}

void normalize_host(const Settings& settings, HeaderMap& headers, uint16_t local_port) {
  if (settings.strip_port == StripPort::none && !settings.strip_trailing_host_dot) return;
  const std::string_view host = headers.get(Name::authority);
  if (host.empty()) return;
  size_t colon = host.rfind(':');
  // An IPv6 address stands in brackets (RFC 3986 section 3.2.2).
  if (colon != std::string_view::npos) {
    size_t bracket = host.rfind(']');
    if (bracket != std::string_view::npos && bracket > colon) colon = std::string_view::npos;
  }
  std::string_view name = host.substr(0, colon);
  std::string_view port = colon == std::string_view::npos ? std::string_view{} : host.substr(colon);
  if (settings.strip_trailing_host_dot && name.ends_with('.')) name.remove_suffix(1);
  if (settings.strip_port != StripPort::none && port.size() > 1) {
    uint32_t number = 0;
    auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), number);
    if (error == std::errc() && end == port.data() + port.size() &&
        (settings.strip_port == StripPort::any || number == local_port))
      port = {};
  }
  if (name.size() + port.size() == host.size()) return;
  headers.set(Name::authority, std::string(name).append(port));
}

bool valid_authority(std::string_view authority) {
  static constexpr auto kValid = [] {
    std::array<bool, 256> v{};
    for (unsigned c = 'a'; c <= 'z'; ++c) v[c] = v[c - 'a' + 'A'] = true;
    for (unsigned c = '0'; c <= '9'; ++c) v[c] = true;
    for (char c : {'-', '.', '_', '~', '!', '$', '&', '\'', '(', ')',
                   '*', '+', ',', ';', '=', ':', '@', '[',  ']', '%'})
      v[static_cast<unsigned char>(c)] = true;
    return v;
  }();
  for (char c : authority)
    if (!kValid[static_cast<unsigned char>(c)]) return false;
  return true;
}

}  // namespace sluice::extensions::http_connection_manager
