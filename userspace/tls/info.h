#pragma once

#include "sluice/ext/tls_info.h"
#include "tls/openssl.h"

namespace sluice::tls {

// What an established connection has to say. Cheap: certificates are kept as the library has them until somebody asks.
ext::TlsInfoPtr make_info(SSL* ssl);

}  // namespace sluice::tls
