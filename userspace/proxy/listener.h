#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/fd.h"
#include "core/stats.h"
#include "model/config_set.h"
#include "sluice/ext/listener_filter.h"
#include "sluice/ext/network_filter.h"

namespace sluice::proxy {

// One enrolled network namespace, as workers see it. Immutable; shared by the sockets and connections of the workload.
struct Workload {
  std::shared_ptr<const std::string> name;
  Fd netns;  // upstream sockets are opened in it
  uint64_t netns_cookie = 0;
  uint32_t mark = 0;  // SO_MARK of upstream sockets: how the BPF programs know them
  // Likewise, of those to the application that keep the caller's address: it routes to this namespace alone.
  uint32_t transparent_mark = 0;
};

// "listener.<prefix>." on one worker.
struct ListenerStats {
  ListenerStats(const stats::Scope& root, const std::string& prefix, unsigned worker);
  stats::Counter cx_total, cx_destroy, cx_overflow, no_filter_chain_match, pre_cx_timeout, worker_cx_total;
  stats::Gauge cx_active, pre_cx_active, worker_cx_active;
  stats::Histogram cx_length_ms;
};

// "0.0.0.0_15001", "[__]_80": how Envoy writes an address into a statistic's name.
std::string stat_name(const Address& address);
std::string stat_prefix(const model::Listener& listener);

// A listener on one worker: the shared configuration and this worker's own factories and statistics. Lives as long as
// the last connection that started with it.
struct ListenerRuntime {
  struct Chain {
    std::shared_ptr<const model::FilterChain> config;
    std::vector<ext::NetworkFilterMaker> filters;
  };

  ListenerRuntime(std::shared_ptr<const model::Listener> config, const stats::Scope& root, unsigned worker);
  const Chain* find_chain(const model::FilterChainMatchInput& input) const;

  std::shared_ptr<const model::Listener> config;
  ListenerStats stats;
  std::vector<ext::ListenerFilterMaker> listener_filters;
  std::vector<Chain> chains;
  std::unique_ptr<Chain> default_chain;
  uint64_t active = 0;  // connections, on this worker
};

// The listeners of one configuration on one worker, found by the address a connection was restored to.
class ListenerIndex {
 public:
  ListenerIndex() = default;
  ListenerIndex(const model::ConfigSet& config, const stats::Scope& root, unsigned worker);

  // The exact address first, then the wildcard of its family with its port (Envoy: getBalancedHandlerByAddress).
  std::shared_ptr<ListenerRuntime> by_address(const Address& address) const;
  std::shared_ptr<ListenerRuntime> by_config(const model::Listener* config) const;

 private:
  std::unordered_map<Address, std::shared_ptr<ListenerRuntime>> by_address_;
  std::unordered_map<const model::Listener*, std::shared_ptr<ListenerRuntime>> by_config_;
};

}  // namespace sluice::proxy
