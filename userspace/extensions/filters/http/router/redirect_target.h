#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::extensions::router {

struct RedirectTarget {
  std::string scheme, host, path;  // path: with its query, without a fragment
};
// An absolute http or https URL; nothing: it is none.
std::optional<RedirectTarget> parse_redirect_target(std::string_view location);

}  // namespace sluice::extensions::router
