#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/stats.h"
#include "extensions/transport_sockets/tls/settings.h"
#include "sluice/ext/transport_socket.h"

namespace sluice::extensions::transport_tls {

// What Envoy counts beside ssl.*: "server_ssl_socket_factory." or "client_ssl_socket_factory.", and when certificates
// expire. One thread's. A secret that arrives is seen at once, whether or not anybody connects.
class FactoryStats {
 public:
  // `side`: "server_ssl_socket_factory" or "client_ssl_socket_factory".
  FactoryStats(const ext::TransportScope& scope, std::string_view side, const SecretSources& sources);
  ~FactoryStats();
  FactoryStats(const FactoryStats&) = delete;
  FactoryStats& operator=(const FactoryStats&) = delete;

  // A context was made of these secrets.
  void on_context(uint64_t workload, const SecretSet& secrets, const tls::Validation* validation);
  void on_forgotten(uint64_t workload);

  stats::Counter downstream_not_ready, upstream_not_ready;

 private:
  struct Change;
  struct Inbox;
  class Observer;
  FactoryStats(const ext::TransportScope& scope, const stats::Block& block, const SecretSources& sources);
  template <typename F>
  void for_each_discovered(F f) const;
  void observe();
  void take(const std::vector<Change>& changes);
  void look_again(uint64_t workload);
  void show(const std::string& name);

  // What belongs to the whole process is one worker's to count, because values of all threads are added up.
  const bool speaks_;
  const SecretSources& sources_;
  stats::Scope certificates_;
  stats::Counter updates_;
  std::vector<uint64_t> seen_;  // updates of each source that is discovered
  // By name: when that of each workload that has connected expires, in seconds since 1970. The earliest is shown.
  std::map<std::string, std::map<uint64_t, uint64_t>> expirations_;
  // What this one has shown. Chains, and certificates of one context, that have no name share a gauge: as in Envoy, where
  // a context says it once, when it is made, the last one stands. Whoever connects first changes nothing.
  std::map<std::string, uint64_t> shown_;
  std::shared_ptr<Inbox> inbox_;  // null: this one does not speak
  std::vector<std::shared_ptr<Observer>> observers_;
};

}  // namespace sluice::extensions::transport_tls
