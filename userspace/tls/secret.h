#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/string_matcher.h"

// Secrets of TLS by value: contents, wherever they came from. Never logged or dumped.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret
namespace sluice::tls {

// envoy...tls.v3.TlsCertificate.
struct Certificate {
  std::string chain = {};  // PEM, the leaf first
  std::string private_key = {};  // PEM
  std::string pkcs12 = {};  // DER; instead of the two
  std::string password = {};  // of the key or the PKCS#12 file; "": none
  std::string ocsp_staple = {};  // DER; "": none
};

// envoy...tls.v3.TlsSessionTicketKeys: 80 bytes each (16 name, 32 HMAC, 32 AES); the first encrypts, all decrypt.
struct TicketKeys {
  std::vector<std::string> keys;
};

struct SanMatcher {
  enum class Type : uint8_t { any, email, dns, uri, ip, other_name };
  Type type = Type::any;  // any: match_subject_alt_names, which looks at every kind
  std::string oid;  // other_name
  StringMatcher matcher;
};

// envoy...tls.v3.CertificateValidationContext: whom to trust.
struct Validation {
  std::string ca_name;  // where the CA came from, for /certs: a file's name or "<inline>"
  std::string trusted_ca;  // PEM; "": chains are not verified
  std::string crl;  // PEM; "": none
  std::vector<std::string> certificate_hashes;  // SHA-256 of the DER form: 32 bytes each
  std::vector<std::string> spki_hashes;  // SHA-256 of the public key: 32 bytes each
  std::vector<SanMatcher> sans;  // one of them must match; empty: any name
  bool allow_expired = false;
  bool accept_untrusted = false;  // trust_chain_verification ACCEPT_UNTRUSTED
  bool only_verify_leaf_crl = false;
  uint32_t max_verify_depth = 100;
  // envoy.tls.cert_validator.spiffe: a bundle (PEM) for each trust domain, instead of `trusted_ca`. The peer's one URI SAN
  // chooses it.
  struct TrustDomain {
    std::string name, bundle;
  };
  std::vector<TrustDomain> trust_domains;
};

}  // namespace sluice::tls
