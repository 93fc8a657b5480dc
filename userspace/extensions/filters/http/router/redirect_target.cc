#include "extensions/filters/http/router/redirect_target.h"

namespace sluice::extensions::router {

std::optional<RedirectTarget> parse_redirect_target(std::string_view location) {
  RedirectTarget t;
  for (std::string_view scheme : {"http", "https"}) {
    if (location.starts_with(scheme) && location.substr(scheme.size()).starts_with("://")) t.scheme = scheme;
  }
  if (t.scheme.empty()) return std::nullopt;
  location.remove_prefix(t.scheme.size() + 3);
  location = location.substr(0, location.find('#'));
  size_t end = location.find_first_of("/?");
  t.host = location.substr(0, end);
  if (t.host.empty()) return std::nullopt;
  std::string_view rest = end == std::string_view::npos ? "" : location.substr(end);
  t.path = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  return t;
}

}  // namespace sluice::extensions::router
