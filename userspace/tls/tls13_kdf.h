#pragma once

#include <openssl/core.h>

namespace sluice::tls {

// TLS13-KDF (RFC 8446 section 7.1) with SHA-256 and SHA-384, as a provider's functions: EVP_KDF-TLS13_KDF(7).
const OSSL_DISPATCH* tls13_kdf();

}  // namespace sluice::tls
