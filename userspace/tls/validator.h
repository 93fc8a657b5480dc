#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "tls/openssl.h"
#include "tls/secret.h"
#include "tls/stats.h"

namespace sluice::tls {

// Decides on a peer's certificates, as Envoy's default and SPIFFE validators do. Made once a context, one thread's.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/security/ssl#certificate-verification
class Validator {
 public:
  struct Request {
    X509* leaf = nullptr;  // null: the peer has shown none
    STACK_OF(X509) * chain = nullptr;  // what it sent, in its order; may hold the leaf
    bool of_client = false;  // we are the server
    WallTime now{};
    const std::vector<std::string>* names =
        nullptr;  // one of them must be the certificate's; null or empty: as configured
    std::string_view sni;  // with auto_sni_san_validation; else ""
  };
  struct Verdict {
    bool accepted = false;
    bool validated = false;  // positively: against a CA, a name or a hash
    std::string detail;  // of a refusal: "verify cert failed: …"
    int error = X509_V_OK;  // of a refusal: X509_V_ERR_…, which names the alert
    stats::Counter Stats::* counter = nullptr;  // which one a refusal counts in
  };

  static Result<std::shared_ptr<const Validator>> make(const Validation& validation);
  Verdict verify(const Request& request) const;

  bool spiffe() const { return !domains_.empty(); }
  bool has_ca() const { return store_ || spiffe(); }
  // What the SSL_VERIFY_… flags of a context have to be for this to be asked, and to be asked always.
  int verify_mode() const;
  // What a server says it accepts: the names of the CAs.
  STACK_OF(X509_NAME) * ca_names() const;
  // Which of the CAs has issued it; null: none of them.
  X509* issuer_of(X509* certificate) const;

 private:
  struct Domain {
    std::string name;
    StorePtr store;
  };
  struct Oid {
    Owned<ASN1_OBJECT, ASN1_OBJECT_free> object;
  };
  X509_STORE* store_for(X509* leaf) const;
  bool verify_chain(const Request& request, X509_STORE* store, Verdict& verdict) const;
  bool remembers() const;
  std::string memo_key(const Request& request) const;
  void remember(std::string key, X509_STORE_CTX* verified) const;
  bool verify_leaf(const Request& request, Verdict& verdict) const;
  bool any_name_matches(X509* leaf) const;

  Validation config_;  // without the PEM texts
  StorePtr store_;
  std::vector<Domain> domains_;
  std::vector<X509Ptr> cas_;
  std::vector<Oid> oids_;  // of config_.sans
  bool has_crl_ = false;
  // Chains that were verified against this configuration, by their digests, and when each of their certificates holds. A
  // peer's every connection shows the same one; that it has the key is shown each time anew.
  struct Span {
    WallTime from, until;
  };
  mutable std::unordered_map<std::string, Span> known_;
};

}  // namespace sluice::tls
