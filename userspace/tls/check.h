#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "tls/secret.h"

// What can be said of a secret by itself: for SDS, start-up and the administration's /certs.
namespace sluice::tls {

// Whether a context could be made with it. Errors are Envoy's texts; they never quote a key or a password. The names say
// where the parts came from: a file's name or "<inline>".
Status check(const Certificate& certificate, std::string_view chain_name = "<inline>",
             std::string_view key_name = "<inline>");
Status check(const Validation& validation);  // its own ca_name is used
Status check(const TicketKeys& keys);

// In lower-case hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

// One certificate of a PEM bundle, as /certs shows it.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/certs.proto
struct CertificateSummary {
  std::string serial;  // lower-case hexadecimal digits
  std::vector<std::string> dns_sans, uri_sans, ip_sans;
  WallTime not_before{}, not_after{};
};
// In the bundle's order. An error where it holds no certificate or one that cannot be read.
Result<std::vector<CertificateSummary>> summarize(std::string_view pem);
// The same of what a certificate secret says, be it PEM or PKCS#12: the leaf first.
Result<std::vector<CertificateSummary>> summarize(const Certificate& certificate);

}  // namespace sluice::tls
