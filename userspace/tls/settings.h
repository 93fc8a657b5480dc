#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/time.h"

// What a TLS context is made with beside its secrets. Defaults are Envoy's.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/common.proto
namespace sluice::tls {

enum class Version : uint8_t { tls10, tls11, tls12, tls13 };

struct CommonSettings {
  Version min_version = Version::tls12, max_version = Version::tls13;
  std::vector<std::string> cipher_suites;  // of TLS 1.2 and before, in OpenSSL's names; empty: Envoy's
  std::vector<std::string> curves;  // "X25519", "P-256"; empty: these two
  std::vector<std::string>
      signature_algorithms;  // BoringSSL's names, as "ecdsa_secp256r1_sha256"; empty: all
  std::vector<std::string> alpn;
  struct KeyLog {
    std::string path;  // "": none
    std::vector<Cidr> local, remote;  // empty: all
  } key_log;
};

struct ServerSettings : CommonSettings {
  enum class Ocsp : uint8_t { lenient, strict, must };
  bool require_client_certificate = false;
  bool tickets = true;  // not disable_stateless_session_resumption
  bool session_cache = true;  // not disable_stateful_session_resumption
  Duration session_timeout{};  // 0: OpenSSL's
  Ocsp ocsp = Ocsp::lenient;
  bool full_scan_on_sni_mismatch = false;
  bool prefer_client_ciphers = false;
};

struct ClientSettings : CommonSettings {
  std::string server_name;  // SNI; "": none
  bool auto_host_sni = false;  // the host's own name instead
  bool auto_sni_san_validation = false;  // the certificate must be for the SNI
  bool allow_renegotiation = false;
  uint32_t max_session_keys = 1;  // sessions kept for resumption; 0: none
  bool enforce_rsa_key_usage = false;
};

}  // namespace sluice::tls
