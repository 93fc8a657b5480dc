#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/stats.h"
#include "core/time.h"
#include "http/codec.h"
#include "sluice/ext/upstream.h"

namespace sluice::ext {

enum class RoutingPriority : uint8_t { normal, high };  // RoutingPriority DEFAULT, HIGH

// What a pool needs to know of a request beside its origin.
struct HttpRequestTraits {
  std::optional<http::Protocol> downstream_protocol = std::nullopt;  // for use_downstream_protocol_config
  RoutingPriority priority = RoutingPriority::normal;
  bool upgrade = false;  // a websocket or CONNECT: wants a connection of its own (HTTP/1)
  bool raw = false;  // a CONNECT that ends here: bytes on a TCP connection of its own
  // What is going to be sent, for auto_sni and auto_san_validation; looked at in make_try() alone; null: not known.
  const http::HeaderMap* request = nullptr;
};

// How a try ended, for outlier detection (Envoy: Outlier::Result).
enum class TryResult : uint8_t {
  success,  // of the transport
  connect_failed,  // counts as gateway failure when errors of ours are not split
  timeout,  // no response in time
  reset,  // reset before a whole response
};

// One try of one request at one host: it waits for a stream of a pool, then it is that stream's handle. Destroying it
// takes it out of the queue, or resets the stream if that is still open. May be destroyed inside any callback.
class HttpTry {
 public:
  class Callbacks {
   public:
    // There is a stream: send the request on it. `receiver` of HttpCluster::make_try gets the response.
    virtual void on_ready(http::Stream& stream) = 0;
    // There will be none. Nothing was sent.
    virtual void on_failure(Upstream::Failure failure, std::string_view reason) = 0;

   protected:
    ~Callbacks() = default;
  };

  virtual ~HttpTry() = default;
  // Once. The outcome may come from inside.
  virtual void start() = 0;
  virtual const UpstreamHost* host() const = 0;  // null: nobody was chosen
  // After on_ready.
  virtual Connection& connection() = 0;
  virtual MonotonicTime connect_started() const = 0;  // of the connection, which may be old
  virtual MonotonicTime connect_done() const = 0;
  virtual uint64_t connection_streams() const = 0;  // how many it has carried, with this one
  // Its server ended a connection that had carried others before, without a byte after this one had begun: perhaps it
  // never saw it.
  virtual bool may_be_unseen() const = 0;
  // For outlier detection and the host's rq_success/rq_error/rq_timeout.
  virtual void report(TryResult result) = 0;
  virtual void report_status(uint16_t status) = 0;  // HTTP, or what a gRPC status maps to
  // A response has x-envoy-immediate-health-check-fail: where there are health checks, the host has failed them.
  virtual void report_immediate_health_check_fail() = 0;
};

// Request statistics of a cluster on one worker: "cluster.<name>.upstream_rq_*" as Envoy's router counts them.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats
struct HttpClusterStats {
  explicit HttpClusterStats(const stats::Scope& cluster);
  stats::Counter upstream_rq_retry, upstream_rq_retry_backoff_exponential,
      upstream_rq_retry_backoff_ratelimited, upstream_rq_retry_limit_exceeded, upstream_rq_retry_overflow,
      upstream_rq_retry_success, upstream_rq_timeout, upstream_rq_per_try_timeout,
      upstream_rq_per_try_idle_timeout, upstream_rq_max_duration_reached, upstream_rq_rx_reset,
      upstream_rq_tx_reset, upstream_rq_maintenance_mode, upstream_internal_redirect_failed_total,
      upstream_internal_redirect_succeeded_total, retry_or_shadow_abandoned,
      upstream_flow_control_paused_reading_total, upstream_flow_control_resumed_reading_total,
      upstream_flow_control_backed_up_total, upstream_flow_control_drained_total;
};

// Responses by code, on one worker: "<prefix>upstream_rq_completed", "_2xx", "_200". Codes appear with their first response.
class HttpCodeStats {
 public:
  explicit HttpCodeStats(stats::Scope scope) : scope_(std::move(scope)) {}
  // `details`: else `completed` alone (suppress_grpc_request_failure_code_stats).
  void charge(uint16_t status, bool details = true);
  void time(Duration response);  // upstream_rq_time

 private:
  struct Code {
    uint16_t status;
    stats::Counter counter, group;
  };
  Code& code(uint16_t status);
  stats::Scope scope_;
  bool started_ = false, timed_ = false;
  stats::Counter completed_;
  stats::Histogram time_;
  std::vector<Code> codes_;
};

// A cluster's, as Envoy's router keeps them.
struct HttpClusterCodeStats {
  explicit HttpClusterCodeStats(const stats::Scope& cluster)
      : all(cluster),
        internal(cluster.scope("internal")),
        external(cluster.scope("external")),
        canary(cluster.scope("canary")),
        retry(cluster.scope("retry")) {}
  HttpCodeStats all, internal, external, canary, retry;
};

// A cluster's HTTP side on one worker.
class HttpCluster {
 public:
  // Keeps it past this turn of the loop.
  virtual std::shared_ptr<HttpCluster> hold() = 0;
  virtual HttpClusterCodeStats& code_stats() = 0;
  // Chooses a host and, where the cluster has room (circuit breakers), a connection or a place in the queue for one.
  virtual std::unique_ptr<HttpTry> make_try(const Upstream::Origin& origin, const HttpRequestTraits& traits,
                                            http::StreamReceiver& receiver,
                                            HttpTry::Callbacks& callbacks) = 0;
  virtual HttpClusterStats& http_stats() = 0;
  // "cluster.<name>.": for upstream_rq_<code>, internal.*, canary.* and the like.
  virtual stats::Scope stats_scope() = 0;
  // The retry circuit breaker (max_retries, or retry_budget) of a priority: false: no more now. Each true is paired
  // with a release.
  virtual bool acquire_retry(RoutingPriority priority) = 0;
  virtual void release_retry(RoutingPriority priority) = 0;
  // common_http_protocol_options.max_stream_duration of the cluster: for each try; 0: none.
  virtual Duration max_stream_duration() const = 0;
  // load_assignment.policy.drop_overloads: whether it drops this request, or every one.
  enum class Drop : uint8_t { no, some, all };
  virtual Drop drops() = 0;
  // Of responses from a host of that zone, "zone.<the proxy's>.<to>."; null: one of the two is not known.
  virtual HttpCodeStats* zone_stats(std::string_view to) = 0;

 protected:
  ~HttpCluster() = default;
};

}  // namespace sluice::ext
