#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/stats.h"

namespace sluice::tls {

// Envoy's statistics of TLS, below "<scope>ssl."; one thread's.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/stats#tls-statistics
struct Stats {
  // `scope`: the listener's or the cluster's, "listener.<address>.".
  explicit Stats(const stats::Scope& scope);

  stats::Counter connection_error, handshake, session_reused, no_certificate, fail_verify_no_cert,
      fail_verify_error, fail_verify_san, fail_verify_cert_hash, ocsp_staple_failed, ocsp_staple_omitted,
      ocsp_staple_responses, ocsp_staple_requests;

  // Counters by name ("ciphers.<name>"), made when they are first counted.
  class ByName {
   public:
    explicit ByName(stats::Scope scope) : scope_(std::move(scope)) {}
    void count(std::string_view name);

   private:
    stats::Scope scope_;
    std::vector<std::pair<std::string, stats::Counter>> counters_;
  };
  ByName ciphers, curves, sigalgs, versions;
  // Not Envoy's: of connections whose records the kernel writes (sluiced --ktls).
  ByName kernel;

 private:
  Stats(const stats::Scope& scope, const stats::Block& block);
};

}  // namespace sluice::tls
