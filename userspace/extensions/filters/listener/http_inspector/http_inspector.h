#pragma once

#include <cstddef>
#include <string_view>

#include "sluice/ext/listener_filter.h"

namespace sluice::extensions::http_inspector {

enum class Detected : uint8_t { need_more, not_http, http10, http11, http2 };

// What the first bytes of a connection are. Takes what Envoy's inspector takes: the HTTP/2 preface (RFC 9113 section
// 3.4), or one line of "METHOD TARGET [VERSION]" apart by any blanks, where no version, and any but HTTP/1.1, is HTTP/1.0.
Detected detect(std::string_view bytes);

inline constexpr size_t kMaxBytes = 64 * 1024;  // without a decision in these the connection is closed

// envoy.extensions.filters.listener.http_inspector.v3.HttpInspector: sets the application protocol "http/1.0", "http/1.1"
// or "h2c", for filter chains to match. Statistics: "http_inspector.*", of the process.
ext::ListenerFilterFactory make_factory();

}  // namespace sluice::extensions::http_inspector
