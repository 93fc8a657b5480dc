#pragma once

#include <optional>
#include <string_view>

#include "core/address.h"
#include "core/random.h"
#include "extensions/filters/network/http_connection_manager/settings.h"
#include "http/codec.h"
#include "http/header_map.h"
#include "model/route.h"

// What the connection manager does to heads on their way through. Pure functions of their arguments.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers
namespace sluice::extensions::http_connection_manager {

// Has the comma-separated field `value` the token (any case)?
bool has_token(std::string_view value, std::string_view token);
// A switch of protocols is asked for or granted: `upgrade`, and `connection: upgrade`.
bool is_upgrade(const http::HeaderMap& headers);
// Nothing more is to come on this connection: "connection: close", or HTTP/1.0 without "keep-alive".
bool wants_close(const http::HeaderMap& request, http::Protocol protocol);

struct RequestOrigin {
  const Address& remote;  // of the connection's peer (restored)
  const Address& local;
  bool tls = false;
  // What is to be said of the client's certificate (client_certificate.h); "": it presented none.
  std::string_view client_certificate = {};
};

struct RequestVerdict {
  Address remote;  // who sent the request; invalid: the peer
  uint16_t reject_status = 0;  // the client's address is missing, which the settings refuse
};

// Removes what only one hop may say, finds out who the client is, and whether it is internal; sets x-forwarded-*, x-envoy-*,
// x-request-id, via, :scheme. `routes`: for internal_only_headers; may be null.
RequestVerdict mutate_request(const Settings& settings, const RequestOrigin& origin, Random& random,
                              const model::RouteConfig* routes, http::HeaderMap& headers);

// `request`: null where none was understood.
void mutate_response(const Settings& settings, const http::HeaderMap* request, http::HeaderMap& response);

// HTTP/2's extended CONNECT (RFC 8441) in HTTP/1's shape; false: it is none.
bool upgrade_from_http2(http::HeaderMap& request);
// And the answer to it in HTTP/2's: 101 becomes 200.
void upgrade_answer_to_http2(http::HeaderMap& response);

// A random UUID (RFC 9562 section 5.4).
std::array<char, 36> make_uuid(Random& random);

}  // namespace sluice::extensions::http_connection_manager
