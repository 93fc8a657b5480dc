#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/stats.h"
#include "extensions/transport_sockets/tls/settings.h"

namespace sluice::extensions::transport_tls {

// What Envoy counts beside ssl.*: "server_ssl_socket_factory." or "client_ssl_socket_factory.", and when certificates
// expire. One thread's.
class FactoryStats {
 public:
  // `side`: "server_ssl_socket_factory" or "client_ssl_socket_factory".
  FactoryStats(const stats::Scope& scope, std::string_view side, const SecretSources& sources);

  // A new generation was seen.
  void on_rotation();
  // A context was made of these secrets.
  void on_context(uint64_t workload, const SecretSet& secrets, const tls::Validation* validation);
  void on_forgotten(uint64_t workload);

  stats::Counter downstream_not_ready, upstream_not_ready;

 private:
  FactoryStats(const stats::Scope& scope, const stats::Block& block, const SecretSources& sources);
  void show(const std::string& name);

  // What belongs to the whole process is one worker's to count, because values of all threads are added up.
  const bool speaks_;
  const SecretSources& sources_;
  stats::Scope certificates_;
  stats::Counter updates_;
  std::vector<uint64_t> seen_;  // generations of the sources
  // By name: when each workload's expires, in seconds since 1970. The earliest is shown.
  std::map<std::string, std::map<uint64_t, uint64_t>> expirations_;
};

}  // namespace sluice::extensions::transport_tls
