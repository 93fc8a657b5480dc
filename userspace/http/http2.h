#pragma once

#include <memory>

#include "http/codec.h"
#include "http/options.h"

namespace sluice::http {

struct Http2Config {
  CommonOptions common;
  Http2Options http2;
};

// RFC 9113, on nghttp2. The server's first bytes are the client's preface. `config`, `stats`, `output` and `callbacks`
// outlive the connection.
std::unique_ptr<ServerConnection> make_http2_server(const Http2Config& config, Http2Stats& stats,
                                                    Output& output, ServerCallbacks& callbacks);
std::unique_ptr<ClientConnection> make_http2_client(const Http2Config& config, Http2Stats& stats,
                                                    Output& output, ClientCallbacks& callbacks);

}  // namespace sluice::http
