#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace sluice::ext {

// What can be said of one certificate. Names are as Envoy writes them: subjects by RFC 2253, digests and serial numbers in
// lower-case hexadecimal digits without separators. https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
struct CertificateInfo {
  std::string subject, issuer;
  std::string serial;
  std::string sha256, sha1;  // of the DER form
  std::vector<std::string> uri_sans, dns_sans, ip_sans, email_sans, other_name_sans;
  std::vector<std::string> oids;  // of its extensions
  WallTime not_before{}, not_after{};
  std::string pem;
};

// What a finished handshake has established. Immutable; lives as long as anybody asks (access logs, RBAC, XFCC). What
// takes work is worked out when it is first asked for. One thread's.
class TlsInfo {
 public:
  virtual ~TlsInfo() = default;
  virtual const std::string& version() const = 0;  // "TLSv1.3"
  virtual const std::string& cipher() const = 0;  // "TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"
  virtual uint16_t cipher_id() const = 0;  // IANA's number; 0: none
  virtual std::string_view group() const {
    return {};
  }  // of the key exchange: "X25519", "P-256"; "": not known
  virtual const std::string& session_id() const = 0;  // hexadecimal; "": none
  virtual const std::string& alpn() const = 0;  // "": none agreed
  virtual const std::string& server_name() const = 0;  // SNI; "": none
  virtual bool resumed() const = 0;
  // The peer's certificate; null: it has shown none.
  virtual const CertificateInfo* peer() const = 0;
  // Who has issued it, as the verification found out; null: it was not verified.
  virtual const CertificateInfo* peer_issuer() const { return nullptr; }
  // It was verified: against a trusted CA, or by its hash. Not so where trust_chain_verification lets others pass too.
  virtual bool peer_validated() const = 0;
  virtual const std::vector<std::string>& peer_chain_pem() const = 0;  // the peer's own first
  virtual const std::vector<std::string>& peer_chain_sha256() const = 0;
  virtual const std::vector<std::string>& peer_chain_sha1() const = 0;
  virtual const std::vector<std::string>& peer_chain_serials() const = 0;
  // Our own certificate of this connection; null: none was shown.
  virtual const CertificateInfo* local() const = 0;
};
using TlsInfoPtr = std::shared_ptr<const TlsInfo>;

}  // namespace sluice::ext
