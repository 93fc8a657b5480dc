#pragma once

struct nghttp2_session_callbacks;

namespace sluice::http {

// The same for all sessions; lives as long as the process.
const nghttp2_session_callbacks* http2_callbacks();

}  // namespace sluice::http
