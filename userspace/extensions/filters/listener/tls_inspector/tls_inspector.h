#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/ext/listener_filter.h"

namespace sluice::extensions::tls_inspector {

inline constexpr uint32_t kMaxClientHello =
    16 * 1024;  // the most that max_client_hello_size may be, and its default

struct Settings {
  bool ja3 = false, ja4 = false;
  bool close_on_errors = false;  // what is no ClientHello is not plain text, but an error
  uint32_t max_client_hello_size = kMaxClientHello;
  uint32_t initial_read_buffer_size = kMaxClientHello;  // <= max_client_hello_size
};

// envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector: sets the transport protocol "tls", the server name and
// the application protocols that the client asks for, for filter chains to match. Statistics: "tls_inspector.*", of the
// process.
ext::ListenerFilterFactory make_factory(const Settings& settings);

}  // namespace sluice::extensions::tls_inspector
