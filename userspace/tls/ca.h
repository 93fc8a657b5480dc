#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "tls/secret.h"

namespace sluice::tls {

// A certificate authority for development and tests: one P-256 root, whose key lies where its user keeps it. It knows no
// revocation, no intermediate and no attestation: whoever has the key is everybody. Production has istiod or SPIRE.
class DevelopmentCa {
 public:
  struct Options {
    std::string trust_domain = "cluster.local";
    bool constrained = true;  // name constraints: it can issue for its trust domain alone
    Duration lifetime = std::chrono::hours(24 * 3650);
  };
  // Errors: the trust domain is none, OpenSSL said no.
  static Result<DevelopmentCa> make(const Options& options, WallTime now);
  // PEM. An error where they are no CA, or do not fit together.
  static Result<DevelopmentCa> load(std::string certificate, std::string private_key);

  const std::string& certificate() const { return certificate_; }  // PEM
  const std::string& private_key() const { return private_key_; }  // PEM, PKCS#8
  const std::string& trust_domain() const { return trust_domain_; }  // "": not limited to one

  struct Request {
    std::string identity;  // SPIFFE ID
    std::vector<std::string> dns_names = {};
    Duration ttl = std::chrono::hours(24);
    WallTime now{};
  };
  // With a new P-256 key. It is valid a minute earlier than now, for clocks that differ, and never longer than the CA. The
  // chain has the leaf alone. Errors: no SPIFFE ID, or one of another trust domain.
  Result<Certificate> issue(const Request& request) const;

 private:
  struct Parsed;
  DevelopmentCa() = default;
  static Result<std::shared_ptr<const Parsed>> parse(const std::string& certificate,
                                                     const std::string& private_key);
  std::string certificate_, private_key_, trust_domain_;
  std::shared_ptr<const Parsed> parsed_;  // reading a key costs as much as issuing
};

}  // namespace sluice::tls
