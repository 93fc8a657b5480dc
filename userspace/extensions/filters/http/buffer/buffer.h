#pragma once

#include <cstdint>

#include "sluice/ext/http_filter.h"

namespace sluice::extensions::buffer {

// envoy.extensions.filters.http.buffer.v3.Buffer, or a route's BufferPerRoute.
struct Settings final : ext::HttpRouteConfig {
  bool disabled = false;
  uint32_t max_request_bytes = 0;
};

// Holds a request back until it is whole; 413 if it is too large. A request of unknown length gets a content-length.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/buffer_filter
ext::HttpFilterFactory make_factory(uint32_t max_request_bytes);

}  // namespace sluice::extensions::buffer
