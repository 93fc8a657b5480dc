#pragma once

#include <string>

#include "core/result.h"
#include "core/time.h"
#include "tls/openssl.h"

namespace sluice::tls {

// An OCSP response to be stapled. RFC 6960. Its signature is not checked, as in Envoy: it comes from configuration.
struct OcspResponse {
  std::string der;
  std::string serial;  // of the one certificate that it is for
  WallTime next_update{};  // 0: none stated, which counts as expired
  bool expired(WallTime now) const { return next_update == WallTime{} || next_update < now; }
};
Result<OcspResponse> parse_ocsp(const std::string& der);

}  // namespace sluice::tls
