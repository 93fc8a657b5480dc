#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/address.h"
#include "core/buffer.h"
#include "sluice/ext/connection.h"

namespace sluice::ext {

// "envoy.lb" of a route's metadata_match, for subsets. Values are JSON, so that the string "1" is not the number 1.
struct MetadataMatch {
  using Criteria = std::vector<std::pair<std::string, std::string>>;  // sorted by key
  Criteria criteria = {};
  // Of the key fallback_list: what to try one after the other, for subsets with metadata_fallback_policy FALLBACK_LIST.
  std::optional<std::vector<Criteria>> fallbacks = {};

  bool empty() const { return criteria.empty(); }
};

// A host of a cluster, as filters and retry rules see it.
class UpstreamHost {
 public:
  virtual const Address& address() const = 0;
  virtual const std::string& hostname() const = 0;
  virtual bool canary() const = 0;  // metadata envoy.lb: canary
  virtual uint32_t priority() const = 0;
  virtual const std::string& zone() const = 0;  // "": not known
  // Whether its metadata has all of these; a list has each of its elements.
  virtual bool has_metadata(const MetadataMatch::Criteria& criteria) const = 0;

 protected:
  ~UpstreamHost() = default;
};

// A number of percent for each priority of a cluster.
struct PriorityShares {
  std::vector<uint32_t> healthy = {}, degraded = {};  // of hosts in that health
};

// How a retry spreads over priorities (retry_priority), instead of as the cluster does.
class RetryPriority {
 public:
  // `available`: what of each priority can take load, by the factor of overprovisioning. Null: as the cluster does it. The
  // shares give 100 together, and are good until the next call.
  virtual const PriorityShares* load(const PriorityShares& available) = 0;

 protected:
  ~RetryPriority() = default;
};

// What the choice of a host may depend on beside its load; all of it may stay unset.
struct LbContext {
  std::optional<uint64_t> hash;  // RING_HASH, MAGLEV
  const MetadataMatch* metadata_match = nullptr;  // of the route; null: none
  // A retry asks for another host while this says so, at most max_attempts - 1 times.
  const std::function<bool(const UpstreamHost&)>* reject = nullptr;
  uint32_t max_attempts = 1;
  RetryPriority* retry_priority = nullptr;  // null: as the cluster spreads load
};

class OwnListeners;

// One upstream TCP connection of one stream. Destroying it resets the connection if it is still open.
class Upstream {
 public:
  enum class Failure : uint8_t {
    no_healthy_host,  // UH: the load balancer has nobody
    overflow,  // UO: a circuit breaker is open
    connect_failed,  // UF: refused, unreachable, reset while connecting
    timeout,  // UF: connect_timeout
  };

  // What the choice of host and the socket depend on.
  struct Origin {
    const StreamInfo* stream = nullptr;  // original destination, downstream addresses
    int netns_fd = -1;  // the workload's network namespace; -1: the proxy's own
    uint64_t netns_cookie =
        0;  // of that namespace (never given to another one, as a descriptor may be); 0: the proxy's own
    const OwnListeners* own_listeners = nullptr;  // null: any original destination will do
    uint32_t mark = 0;  // SO_MARK of the upstream socket; 0: none
    Address source = {};  // bind here first (original_src), keeping the caller's address; or invalid
    bool transparent = false;  // IP_TRANSPARENT for `source`
    // `mark` routes everything to `netns_fd` itself: only the application there can be called, by the address that the
    // caller used or by loopback.
    bool within_netns = false;
    LbContext lb = {};
  };

  class Callbacks : public ConnectionObserver {
   public:
    // Established: write() may be called. stream_info's upstream fields are set by the caller from the accessors.
    virtual void on_connected(Upstream&) = 0;
    // Nothing was or will be established. The Upstream may be destroyed in this callback.
    virtual void on_connect_failed(Upstream&, Failure failure, std::string_view reason) = 0;
    virtual void on_upstream_data(Buffer& data, bool end_stream) = 0;  // take everything

   protected:
    ~Callbacks() = default;
  };

  virtual ~Upstream() = default;
  virtual Connection& connection() = 0;  // after on_connected
  virtual const Address& host_address() const = 0;  // after a host was chosen
  virtual const std::string& host_name() const = 0;
  virtual Address local_address() const = 0;
};

class HttpCluster;

// The proxy's own listening sockets, that a connection must not be sent to.
class OwnListeners {
 public:
  virtual ~OwnListeners() = default;
  virtual bool refuses(const Address& destination, const Upstream::Origin& origin) const = 0;
};

// One cluster on one worker.
class Cluster {
 public:
  virtual ~Cluster() = default;
  virtual const std::string& name() const = 0;
  virtual const std::string& observability_name() const = 0;  // alt_stat_name, else name
  // Counts upstream_cx_connect_attempts_exceeded: the caller has used up its attempts.
  virtual void note_connect_attempts_exceeded() = 0;
  // Chooses a host and starts to connect. The outcome comes by callback, never before connect() has returned: also
  // when nobody is there to connect to.
  virtual std::unique_ptr<Upstream> connect(const Upstream::Origin& origin,
                                            Upstream::Callbacks& callbacks) = 0;
  // Its hosts, as this worker knows them.
  struct Membership {
    size_t total = 0, healthy = 0, degraded = 0;
  };
  virtual Membership membership() const = 0;
  // What HTTP asks of a cluster, see http_upstream.h; null: it carries TCP alone.
  virtual HttpCluster* http() { return nullptr; }
};

class ClusterManager {
 public:
  virtual ~ClusterManager() = default;
  virtual Cluster* find(std::string_view name) = 0;  // nullptr: unknown
  // The same question without making what a worker needs to use the cluster.
  virtual bool has(std::string_view name) { return find(name) != nullptr; }
  // The workload of that network namespace has gone: pooled connections opened in it are closed, those in use when they
  // fall idle.
  virtual void forget_origin(uint64_t /*netns_cookie*/) {}
  virtual void close() {}  // the worker ends: no pooled connection stays
};

}  // namespace sluice::ext
