#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "tls/openssl.h"

namespace sluice::tls {

// The cipher suites of TLS 1.2 and before in BoringSSL's notation, as Envoy takes them: OpenSSL's or IANA's names, and
// groups of equal preference "[A|B]". OpenSSL has no such groups: they are written out in their order, and a group that
// holds ChaCha20 gets the one effect groups are used for: a client that prefers ChaCha20 is given it.
// https://commondatastorage.googleapis.com/chromium-boringssl-docs/ssl.h.html#Cipher-suite-configuration
Status set_ciphers(SSL_CTX* ctx, const std::vector<std::string>& suites);  // empty: Envoy's

}  // namespace sluice::tls
