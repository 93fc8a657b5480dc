#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "http/options.h"
#include "proxy/upstream/cluster.h"
#include "proxy/upstream/intrusive_list.h"
#include "sluice/ext/http_upstream.h"

namespace sluice::upstream {

class HttpConnection;
class HttpPools;
class HttpTry;

// Which requests may share a connection: the same host, protocol and routing priority, and sockets that are made alike.
// Connections of two workloads are never mixed: their namespaces differ.
struct HttpPoolKey {
  const void* host = nullptr;  // Host::identity()
  uint64_t netns_cookie = 0;
  int netns_fd = -1;
  uint32_t mark = 0;
  ext::RoutingPriority priority = ext::RoutingPriority::normal;
  bool http2 = false;
  bool by_alpn = false;  // HTTP/2 or HTTP/1, as the handshake decides
  bool transparent = false;
  Address source;
  ext::UpstreamTransport* transport = nullptr;  // null: none
  ext::UpstreamTransportOptions options;
  std::string sharing_key;  // UpstreamTransport::sharing_key()

  friend bool operator==(const HttpPoolKey&, const HttpPoolKey&) = default;
  struct Hash {
    size_t operator()(const HttpPoolKey& k) const;
  };
};

// The connections to one host and the requests that wait for one. Worker's thread.
//
// A request takes the connection that was used last (LIFO, as Envoy: what is not needed grows old and goes by the idle
// time-out), else it waits, first come first served, and a new connection is made unless as many are being made as
// requests wait.
class HttpPool final : public io::Deferred {
 public:
  HttpPool(HttpPools& pools, HttpPoolKey key, HostPtr host);
  ~HttpPool() override;

  // Hands the try to a connection, or queues it. Its outcome may come from inside.
  void submit(HttpTry& t);
  // For connections ---------------------------------------------------------------------------------------------
  // It has room for a stream (connected, or a stream ended): put where it will be found, and whoever waits is served.
  void ready(HttpConnection& c);
  void full(HttpConnection& c);
  // Nothing was established: everybody who waits is told (Envoy's rule: the host is at fault).
  void connect_failed(HttpConnection& c, ext::Upstream::Failure failure, std::string_view reason);
  // It is gone, and in no list any more.
  void gone();
  // A try that was given a connection which died before the request was sent: the first to be served.
  void requeue(HttpTry& t);
  // A pending try leaves the queue.
  void leave_pending(HttpTry& t);
  // Takes a place among the active requests; false: there is none.
  bool begin_request();
  void end_request();

  // Those connections that are there: idle ones close now, the others when they fall idle. New ones may be made.
  void drain_connections();
  void drain();  // idle connections close now, the others when they fall idle
  void close();  // all of them now; who waits is told
  void drop_try() { --tries_, maybe_retire(); }
  void add_try() { ++tries_; }
  void set_host(const HostPtr& host) {
    if (host_ != host) host_ = host;
  }
  // The socket's own: of the workload that asked last (its namespace is the key's, its descriptor need not be).
  void set_netns(int fd) { netns_fd_ = fd; }
  void set_outside(bool outside) { outside_ = outside; }
  bool outside() const { return outside_; }
  int netns_fd() const { return netns_fd_; }

  HttpPools& pools() { return pools_; }
  WorkerCluster& cluster();
  const HostPtr& host() const { return host_; }
  const HttpPoolKey& key() const { return key_; }
  HostCounters& counters() { return counters_; }
  Breakers& breakers() { return breakers_; }
  size_t pending() const { return pending_count_; }
  bool draining() const { return draining_; }

 private:
  HttpConnection* usable();  // the one that was used last; null: none has room
  void connect_for_pending();
  void connect();
  void serve();
  void queue(HttpTry& t, bool first);
  void maybe_retire();

  HttpPools& pools_;
  const HttpPoolKey key_;
  HostPtr host_;
  HostCounters& counters_;
  Breakers& breakers_;
  int netns_fd_;
  List<HttpConnection> ready_, busy_, connecting_;
  List<HttpTry> pending_;
  size_t pending_count_ = 0;
  size_t connections_ = 0;
  size_t tries_ = 0;
  bool outside_ = false;  // see outside_netns()
  bool serving_ = false;
  bool draining_ = false;
  bool closed_ = false;
  bool retired_ = false;
};

// The HTTP side of one cluster on one worker. Keeps its cluster while there is a connection or a try.
class HttpPools final : public ext::HttpCluster {
 public:
  explicit HttpPools(WorkerCluster& cluster);
  ~HttpPools();

  // ext::HttpCluster
  std::shared_ptr<ext::HttpCluster> hold() override;
  ext::HttpClusterCodeStats& code_stats() override { return code_stats_; }
  std::unique_ptr<ext::HttpTry> make_try(const ext::Upstream::Origin& origin,
                                         const ext::HttpRequestTraits& traits, http::StreamReceiver& receiver,
                                         ext::HttpTry::Callbacks& callbacks) override;
  ext::HttpClusterStats& http_stats() override { return request_stats_; }
  stats::Scope stats_scope() override { return cluster_.scope(); }
  bool acquire_retry(ext::RoutingPriority priority) override;
  void release_retry(ext::RoutingPriority priority) override;
  Duration max_stream_duration() const override { return config().max_stream_duration; }
  Drop drops() override;
  ext::HttpCodeStats* zone_stats(std::string_view to) override;

  // Connections to these hosts drain.
  void drain_hosts(const HostVector& hosts);
  // Pools of hosts that are not in `hosts` drain.
  void retain(const HostSet& hosts);
  void drain();
  void close();
  void forget_origin(uint64_t netns_cookie);

  WorkerCluster& cluster() { return cluster_; }
  const model::HttpUpstreamOptions& config() const { return cluster_.config().http; }
  struct ConnectionStats {
    explicit ConnectionStats(const stats::Scope& cluster);
    stats::Counter upstream_cx_http1_total, upstream_cx_http2_total, upstream_cx_idle_timeout,
        upstream_cx_max_duration_reached, upstream_cx_max_requests, upstream_cx_protocol_error,
        upstream_cx_close_notify, upstream_rq_active_overflow;
    stats::Histogram upstream_rq_per_cx;
  };
  ConnectionStats& connection_stats() { return connection_stats_; }
  http::Http1Stats& http1_stats() { return http1_stats_; }
  http::Http2Stats& http2_stats() { return http2_stats_; }
  Random& random() { return random_; }
  void retire(HttpPool& pool);

 private:
  friend class HttpPool;
  HttpPool* pool_for(const HostPtr& host, const ext::Upstream::Origin& origin,
                     const ext::HttpRequestTraits& traits);

  WorkerCluster& cluster_;
  ext::HttpClusterStats request_stats_;
  ext::HttpClusterCodeStats code_stats_;
  std::map<std::string, ext::HttpCodeStats, std::less<>> zone_stats_;
  ConnectionStats connection_stats_;
  http::Http1Stats http1_stats_;
  http::Http2Stats http2_stats_;
  Random random_;
  std::unordered_map<HttpPoolKey, std::unique_ptr<HttpPool>, HttpPoolKey::Hash> pools_;
  HttpPool* last_ = nullptr;  // the pool that was asked for last
  std::shared_ptr<WorkerCluster> self_;  // while there are pools
  bool draining_ = false;
};

}  // namespace sluice::upstream
