#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/fd.h"
#include "core/random.h"
#include "core/stats.h"
#include "model/listener.h"
#include "sluice/ext/listener_filter.h"
#include "sluice/ext/network_filter.h"
#include "sluice/ext/transport_socket.h"

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
  stats::Counter cx_total, cx_destroy, cx_overflow, no_filter_chain_match, pre_cx_timeout, transport_timeout,
      listener_filter_remote_close, listener_filter_error, worker_cx_total;
  stats::Gauge cx_active, pre_cx_active, worker_cx_active;
  stats::Histogram cx_length_ms;
};

// "0.0.0.0_15001", "[__]_80": how Envoy writes an address into a statistic's name.
std::string stat_name(const Address& address);
std::string stat_prefix(const model::Listener& listener);

// How connections are brought to their end.
struct DrainPlan {
  Duration time = std::chrono::seconds(600);  // --drain-time-s
  bool gradual = true;  // --drain-strategy: spread over `time`, or all told at once
};

// A drain that is under way on one worker: of a filter chain that is no more, or of the process.
struct Drain {
  DrainPlan plan;
  MonotonicTime begun{};
  MonotonicTime end() const { return begun + plan.time; }
  // Is a connection to end with the response that goes out now? The longer the drain lasts, the more likely (Envoy:
  // DrainManagerImpl::drainClose).
  bool ends_now(MonotonicTime now, Random& random) const;
  // Is a connection that has not been told yet to be told now, `passed` after it was last asked? At an even rate over the
  // plan's time but for its last tenth: that is for what the connection is doing.
  bool tells_now(MonotonicTime now, Duration passed, Random& random) const;
};

// A filter chain on one worker. Lives as long as the last connection that started with it; an update of its listener that
// leaves it as it was takes it over.
struct ChainRuntime {
  std::shared_ptr<const model::FilterChain> config;
  std::vector<ext::NetworkFilterMaker> filters;
  std::unique_ptr<ext::DownstreamTransport> transport;  // null: none

  std::optional<Drain> drain = {};  // once it is no longer in use by its listener
};

// A listener on one worker: the shared configuration and this worker's own factories and statistics. Lives as long as
// the last connection that started with it.
struct ListenerRuntime {
  using Chain = ChainRuntime;
  // Survives updates.
  struct Shared {
    Shared(const stats::Scope& root, const std::string& prefix, unsigned worker)
        : lease(root.scope("listener").scope(prefix).lease()), stats(root, prefix, worker) {}
    const stats::Lease lease;  // first: what counts below the prefix goes before it
    ListenerStats stats;
    uint64_t active = 0;  // connections, on this worker
  };

  // `before`: the same listener as it was. Filter chains that have not changed are taken over from it if nothing but
  // chains differs.
  ListenerRuntime(std::shared_ptr<const model::Listener> config, const stats::Scope& root, io::Loop& loop,
                  unsigned worker, const ListenerRuntime* before = nullptr);
  Chain* find_chain(const model::FilterChainMatchInput& input) const;
  // Its chains that `after` has not taken over; null: all.
  std::vector<std::shared_ptr<Chain>> chains_not_in(const ListenerRuntime* after) const;

  std::shared_ptr<const model::Listener> config;
  std::shared_ptr<Shared> shared;
  std::vector<ext::ListenerFilterMaker> listener_filters;  // as in `config`
  std::vector<std::shared_ptr<Chain>> chains;
  std::shared_ptr<Chain> default_chain;  // may be null
};
using ListenerPtr = std::shared_ptr<ListenerRuntime>;

// The listeners of one worker, by name and by the address a connection was restored to.
class Listeners {
 public:
  // The exact address first, then the wildcard of its family with its port (Envoy: getBalancedHandlerByAddress).
  ListenerPtr by_address(const Address& address) const;
  ListenerPtr by_name(const std::string& name) const;
  // Returns the one of the same name that was there before.
  ListenerPtr put(ListenerPtr listener);
  ListenerPtr remove(const std::string& name);
  size_t size() const { return by_name_.size(); }
  template <typename F>
  void for_each(F f) const {
    for (const auto& [name, listener] : by_name_) f(*listener);
  }

 private:
  void forget_addresses(const ListenerRuntime& listener);
  std::unordered_map<Address, ListenerPtr> by_address_;
  std::unordered_map<std::string, ListenerPtr> by_name_;
};

}  // namespace sluice::proxy
