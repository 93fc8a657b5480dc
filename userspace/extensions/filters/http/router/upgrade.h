#pragma once

#include "http/header_map.h"

// An upgrade is HTTP/1's GET with `upgrade` inside the proxy; on HTTP/2 it is an extended CONNECT (RFC 8441).
namespace sluice::extensions::router {

http::HeaderMapPtr extended_connect(const http::HeaderMap& upgrade);
// A 2xx answer to an extended CONNECT becomes 101.
void switch_protocols(const http::HeaderMap& request, http::HeaderMap& response);

}  // namespace sluice::extensions::router
