#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "extensions/filters/network/http_connection_manager/settings.h"
#include "http/header_map.h"

// What the settings ask to be done to :path and :authority before anybody looks at them.
namespace sluice::extensions::http_connection_manager {

enum class PathVerdict : uint8_t { proceed, reject, redirect };  // redirect: to what :path is now

// HttpConnectionManager.normalize_path, merge_slashes,
// path_with_escaped_slashes_action; a path with a fragment is refused.
PathVerdict normalize_path(const Settings& settings, http::HeaderMap& headers);
// strip_*_host_port, strip_trailing_host_dot.
void normalize_host(const Settings& settings, http::HeaderMap& headers, uint16_t local_port);

// The path (without its query) with dot segments removed, "\" made "/", needless escapes undone and needed ones made, as
// browsers do (RFC 3986 section 6.2.2). Nothing: it cannot be a path (%00).
std::optional<std::string> canonical_path(std::string_view path);
std::string merge_slashes(std::string_view path);
// Undoes %2F and %5C; nothing where there are none.
std::optional<std::string> unescape_slashes(std::string_view path);

// RFC 3986 section 3.2 as Envoy checks it: characters alone.
bool valid_authority(std::string_view authority);

}  // namespace sluice::extensions::http_connection_manager
