#pragma once

#include <string>

#include "extensions/filters/network/http_connection_manager/settings.h"
#include "sluice/ext/tls_info.h"

namespace sluice::extensions::http_connection_manager {

// What x-forwarded-client-cert says of this hop, byte for byte as Envoy writes it: ";" between the keys, the PEM and the
// subject in quotes, and nothing escaped that the subject's own form (RFC 2253) does not escape. "": the client presented no
// certificate.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
std::string describe_client(const ext::TlsInfo& tls, const ClientCertDetails& details);

}  // namespace sluice::extensions::http_connection_manager
