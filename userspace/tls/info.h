#pragma once

#include "sluice/ext/tls_info.h"
#include "tls/openssl.h"
#include "tls/validator.h"

namespace sluice::tls {

// What an established connection has to say. Cheap: certificates are kept as the library has them until somebody asks.
// `ticket_chain`: of a session that a ticket brought back, what the peer showed behind its own certificate when it began; or
// null. The library keeps that alone in sessions that never left the process. `group`: of the key exchange, as Envoy calls
// it. `validator`: what the peer was verified by; null: nothing.
ext::TlsInfoPtr make_info(SSL* ssl, STACK_OF(X509) * ticket_chain, std::string_view group,
                          std::shared_ptr<const Validator> validator);

}  // namespace sluice::tls
