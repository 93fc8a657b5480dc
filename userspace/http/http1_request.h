#pragma once

#include <optional>

#include "http/http1.h"
#include "http/http1_head.h"

namespace sluice::http::http1 {

// What a whole request head comes to.
struct RequestPlan {
  bool chunked = false;
  uint64_t length = 0;
  bool close =
      false;  // the client asked for the connection to be closed behind the response, or cannot keep it
  bool upgrade = false;  // upgrade or CONNECT: no body; raw data once the response says yes
};

// The conclusions from a request head (RFC 9112 sections 3, 6, 7 and 9; RFC 9110 sections 7.6.1 and 7.8): checks it, gives
// `head.headers` their pseudo-headers and takes out what is for this hop alone. The refusal, or the plan in `plan`.
std::optional<Refusal> plan_request(Head& head, const Http1Options& options, RequestPlan& plan);

// The Connection field's options that a codec looks at.
struct ConnectionOptions {
  bool close = false, keep_alive = false, upgrade = false;
};
ConnectionOptions connection_options(const HeaderMap& headers);
// An Upgrade field, nominated by Connection (RFC 9110 section 7.8).
bool is_upgrade(const HeaderMap& headers);

}  // namespace sluice::http::http1
