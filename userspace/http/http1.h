#pragma once

#include <memory>

#include "http/codec.h"
#include "http/options.h"

namespace sluice::http {

struct Http1Config {
  CommonOptions common;
  Http1Options http1;
};

// RFC 9112. `config`, `stats`, `output` and `callbacks` outlive the connection.
std::unique_ptr<ServerConnection> make_http1_server(const Http1Config& config, Http1Stats& stats,
                                                    Output& output, ServerCallbacks& callbacks);
std::unique_ptr<ClientConnection> make_http1_client(const Http1Config& config, Http1Stats& stats,
                                                    Output& output, ClientCallbacks& callbacks);

}  // namespace sluice::http
