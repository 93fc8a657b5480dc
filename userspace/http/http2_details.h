#pragma once

#include <string_view>

namespace sluice::http {

// %RESPONSE_CODE_DETAILS% of HTTP/2, in Envoy's words.
inline constexpr std::string_view kInvalidHeader = "http2.invalid.header.field";
inline constexpr std::string_view kMessaging = "http2.violation.of.messaging.rule";
inline constexpr std::string_view kTooManyHeaders = "http2.too_many_headers";
inline constexpr std::string_view kUnderscore = "http2.unexpected_underscore";
inline constexpr std::string_view kEmptyFrames = "http2.inbound_empty_frames_flood";
inline constexpr std::string_view kOutboundFlood = "http2.outbound_frames_flood";
inline constexpr std::string_view kUnknown = "http2.unknown.nghttp2.error";
inline constexpr std::string_view kRemoteReset = "http2.remote_reset";
inline constexpr std::string_view kRemoteRefused = "http2.remote_refuse";

}  // namespace sluice::http
