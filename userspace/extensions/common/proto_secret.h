#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "tls/secret.h"

namespace envoy::extensions::transport_sockets::tls::v3 {
class CertificateValidationContext;
class Secret;
class TlsCertificate;
class TlsSessionTicketKeys;
}  // namespace envoy::extensions::transport_sockets::tls::v3

// Envoy's messages about secrets as tls/secret.h has them: the same for a TLS context's own, for static_resources.secrets
// and for what SDS brings. Files and the environment are read here and now; whether what they hold is a certificate, a key
// and fitting, the TLS engine says. Errors start with `path`, the message's own place.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/common.proto
namespace sluice::extensions {

Result<tls::Certificate> to_certificate(
    const envoy::extensions::transport_sockets::tls::v3::TlsCertificate& in, std::string_view path);
// Whom to trust must be clear of it: names alone, without a CA that vouches for them, are refused.
Result<tls::Validation> to_validation(
    const envoy::extensions::transport_sockets::tls::v3::CertificateValidationContext& in,
    std::string_view path);
// Without that: the default of a combined_validation_context, whose CA is discovered.
Result<tls::Validation> to_partial_validation(
    const envoy::extensions::transport_sockets::tls::v3::CertificateValidationContext& in,
    std::string_view path);
Result<tls::TicketKeys> to_ticket_keys(
    const envoy::extensions::transport_sockets::tls::v3::TlsSessionTicketKeys& in, std::string_view path);

// Files of a secret that are to be watched, as Envoy does for secrets that SDS brings: certificates, keys, CAs and
// revocation lists. `watched_directory` in `directory`; "": each file's own.
struct SecretFiles {
  std::vector<std::string> files;
  std::string directory;
};
SecretFiles secret_files(const envoy::extensions::transport_sockets::tls::v3::Secret& secret);

// Overwrites what must not stay in memory behind a secret that is given up.
void wipe(std::string& secret);
void wipe(tls::Certificate& secret);
void wipe(tls::TicketKeys& secret);

}  // namespace sluice::extensions
