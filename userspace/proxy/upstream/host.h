#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/address.h"
#include "model/cluster.h"
#include "sluice/ext/upstream.h"

namespace sluice::upstream {

class HashTable;
class SubsetIndex;
struct ProxyLocation;
struct ZoneRouting;

// What one thread has done with one host. Written by that thread only; anybody may read.
struct alignas(64) HostCounters {
  using Cell = std::atomic<uint64_t>;
  Cell cx_total{0}, cx_active{0}, cx_connect_fail{0}, rq_total{0}, rq_active{0}, rq_pending_active{0};
  Cell rq_success{0}, rq_error{0}, rq_timeout{0};  // HTTP
  // With outlier detection: answers, and attempts to reach the host at all.
  Cell external_total{0}, external_success{0}, local_origin_total{0}, local_origin_success{0};

  static void add(Cell& cell, uint64_t n = 1) {
    cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  static void sub(Cell& cell) { add(cell, ~0ull); }
};

// What is found out about a host while it is used. Flags and rates are the control thread's to write, the rows of
// failures all threads'.
struct HostMonitor {
  enum Flag : uint32_t {
    failed_outlier_check = 1,
    // Of active health checks.
    failed_active_check = 2,
    degraded_active_check = 4,
    active_check_timeout = 8,  // failed, since it did not answer in time
    pending_active_check = 16,  // not asked yet, and not to count until then
    excluded_by_response = 32,  // x-envoy-immediate-health-check-fail: does not count either
    // Discovery has removed it; it stays while it is healthy.
    pending_removal = 64,
  };
  bool has(Flag f) const { return (flags.load(std::memory_order_relaxed) & f) != 0; }
  void set(Flag f, bool on) {
    const uint32_t now = flags.load(std::memory_order_relaxed);
    flags.store(on ? now | f : now & ~f, std::memory_order_relaxed);
  }

  std::atomic<uint32_t> flags{0};
  std::atomic<MonotonicTime> healthy_since{};  // for slow start; MonotonicTime{}: not known
  std::atomic<uint32_t> consecutive_5xx{0}, consecutive_gateway_failure{0},
      consecutive_local_origin_failure{0};
  std::atomic<double> success_rate[2] = {-1, -1};  // external, local origin: percent; -1: not known
};

// What is known of a host by its use. Stays the same over changes of its weight and health.
class HostState {
 public:
  explicit HostState(unsigned slots) : slots_(slots) {}
  ~HostState();
  HostState(const HostState&) = delete;

  // A thread's, made when it is first asked for: of thousands of hosts a worker uses few.
  HostCounters& counters(unsigned slot) {
    const Row* rows = rows_.load(std::memory_order_acquire);
    HostCounters* made = rows != nullptr ? rows[slot].load(std::memory_order_acquire) : nullptr;
    return made != nullptr ? *made : make(slot);
  }
  uint64_t sum(HostCounters::Cell HostCounters::* which) const;  // over the threads

  HostMonitor monitor;

 private:
  using Row = std::atomic<HostCounters*>;
  HostCounters& make(unsigned slot);

  const unsigned slots_;
  std::atomic<Row*> rows_{nullptr};  // one for each slot
};

struct HostLocality {
  std::string region, zone, sub_zone;
  uint32_t weight = 0;

  // Of names alone, as Envoy orders localities.
  friend bool operator<(const HostLocality& a, const HostLocality& b) {
    return std::tie(a.region, a.zone, a.sub_zone) < std::tie(b.region, b.zone, b.sub_zone);
  }
};

// One address of a cluster. Immutable but for its counters; shared by all threads. A change of weight or health makes
// a new Host that takes the old one's counters over.
class Host final : public ext::UpstreamHost {
 public:
  struct Description {
    Address address;
    std::string hostname;
    uint32_t weight = 1;
    uint32_t priority = 0;
    model::HealthStatus health = model::HealthStatus::healthy;
    std::shared_ptr<const HostLocality> locality;  // may be null
    bool canary = false;
    std::string hash_key = {};  // for RING_HASH and MAGLEV; empty: the address or the hostname
    std::shared_ptr<const model::LbMetadata> lb_metadata = {};  // may be null
    std::shared_ptr<const model::LbMetadata> transport_metadata =
        {};  // envoy.transport_socket_match; may be null
    std::shared_ptr<const Address> health_address = {};  // where health checks go; null: `address`
    std::string health_hostname = {};  // of health checks; empty: what the check says
    bool health_check_disabled = false;
  };

  // `slots`: threads that count, as in stats::Store.
  Host(Description description, unsigned slots);
  Host(Description description, const Host& successor_of);

  const Description& description() const { return d_; }
  const Address& address() const override { return d_.address; }
  const std::string& hostname() const override { return d_.hostname; }
  bool canary() const override { return d_.canary; }
  const std::string& zone() const override {
    static const std::string none;
    return d_.locality ? d_.locality->zone : none;
  }
  bool has_metadata(const ext::MetadataMatch::Criteria& criteria) const override {
    return model::has_criteria(d_.lb_metadata.get(), criteria, true);
  }
  const Address& health_address() const { return d_.health_address ? *d_.health_address : d_.address; }
  uint32_t weight() const { return d_.weight; }
  uint32_t priority() const override { return d_.priority; }
  // As configured, and as found out.
  model::HealthStatus health() const {
    using enum model::HealthStatus;
    const uint32_t flags = state_->monitor.flags.load(std::memory_order_relaxed);
    if (flags & (HostMonitor::failed_outlier_check | HostMonitor::failed_active_check)) return unhealthy;
    return d_.health == healthy && (flags & HostMonitor::degraded_active_check) ? degraded : d_.health;
  }
  // Its health is not to be held against its priority: panic and load are reckoned without it.
  bool excluded() const {
    return (state_->monitor.flags.load(std::memory_order_relaxed) &
            (HostMonitor::pending_active_check | HostMonitor::excluded_by_response)) != 0;
  }
  HostMonitor& monitor() const { return state_->monitor; }

  HostCounters& counters(unsigned slot) const { return state_->counters(slot); }
  // Stays the same over changes of weight and health, as long as anybody has one of them.
  const void* identity() const { return state_.get(); }
  uint64_t sum(HostCounters::Cell HostCounters::* which) const { return state_->sum(which); }
  // Connections over all threads; what LEAST_REQUEST compares.
  uint64_t active() const { return sum(&HostCounters::rq_active); }

 private:
  Description d_;
  std::shared_ptr<HostState> state_;
};

// Where health checks of an endpoint at `address` go; null: there.
std::shared_ptr<const Address> health_address(const model::Endpoint& endpoint, const Address& address);

using HostPtr = std::shared_ptr<const Host>;
using HostVector = std::vector<HostPtr>;

// All hosts of a cluster at one moment and how load spreads over its priorities. Made on the control thread, immutable.
struct HostSet {
  struct Locality {
    HostVector all, healthy, degraded;
    size_t excluded = 0;  // of `all`
    uint32_t weight = 0;
    // `weight` by the share of hosts that can take load, which counts `overprovisioning_factor` percent.
    double healthy_weight = 0, degraded_weight = 0;
  };
  struct Priority {
    HostVector all, healthy, degraded;
    size_t excluded = 0;  // of `all`: see Host::excluded()
    uint32_t healthy_load = 0, degraded_load = 0;  // percent; all priorities together give 100
    bool panic = false;  // too few are healthy: use all
    // With locality weights or a local cluster, else empty. The proxy's own is the first, if it has hosts.
    std::vector<Locality> localities;
    std::shared_ptr<const HashTable> table;  // RING_HASH and MAGLEV, where there are hosts
  };
  std::vector<Priority> priorities;  // never empty
  ext::PriorityShares available;  // of each priority, at most 100 each
  std::shared_ptr<const ZoneRouting> zones;  // of the first priority; null: not by zones
  std::shared_ptr<const SubsetIndex>
      subsets;  // with lb_subset_config; the set itself is then not balanced over
  std::optional<model::Fraction> drop_overload;  // of the requests that come

  size_t size() const;
  size_t healthy() const;
  size_t degraded() const;
  size_t excluded() const;
  uint32_t max_weight() const;

  // As Envoy's LoadBalancerBase: priorities filled by availability times overprovisioning, panic below the threshold.
  // `location`: null: nobody knows where the proxy is.
  static std::shared_ptr<const HostSet> make(const model::Cluster& config, const HostVector& hosts,
                                             const ProxyLocation* location = nullptr);
  // Of one subset: some hosts of `whole`.
  static std::shared_ptr<const HostSet> make_subset(const model::Cluster& config, const HostVector& hosts,
                                                    const HostSet& whole, const ProxyLocation* location);
};
using HostSetPtr = std::shared_ptr<const HostSet>;

// Where this proxy is among its like: for zone aware routing.
struct ProxyLocation {
  model::LocalityName locality;  // node.locality
  HostSetPtr proxies;  // of cluster_manager.local_cluster_name; null: none
};

}  // namespace sluice::upstream
