#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "tls/ocsp.h"
#include "tls/openssl.h"
#include "tls/secret.h"

namespace sluice::tls {

// A certificate, parsed, with its key.
struct Identity {
  X509Ptr leaf;
  X509sPtr chain;  // what follows the leaf
  PkeyPtr key;
  int kind = 0;  // EVP_PKEY_RSA, EVP_PKEY_EC, …
  int curve = NID_undef;  // of an EC key
  bool must_staple = false;  // RFC 7633
  std::optional<OcspResponse> ocsp;
};

// Envoy's texts where it is wrong; `chain_name` and `key_name` say where the parts came from ("<inline>", a file's name).
Result<Identity> load_identity(const Certificate& certificate, std::string_view chain_name,
                               std::string_view key_name);

}  // namespace sluice::tls
