#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/buffer.h"
#include "core/random.h"
#include "core/stats.h"
#include "io/loop.h"
#include "sluice/ext/connection.h"
#include "sluice/ext/upstream.h"

namespace sluice::ext {

enum class FilterStatus : uint8_t { proceed, stop };

// What a network filter may touch. Lives as long as the filter. All of it is the worker's own: no locks.
class NetworkFilterContext {
 public:
  virtual Connection& connection() = 0;
  virtual StreamInfo& stream_info() = 0;
  virtual io::Loop& loop() = 0;
  virtual Random& random() = 0;
  virtual ClusterManager& clusters() = 0;
  virtual Upstream::Origin origin() = 0;       // for Cluster::connect
  // After a stop: hands what this filter holds back on to the next one.
  virtual void continue_reading() = 0;
  virtual bool access_logged() const = 0;      // the listener itself logs connections
  // Is this connection to end with what is answered now? Drains are spread over their time: ask once an answer.
  virtual bool draining() const = 0;
  // The process ends, or an operator said so (/healthcheck/fail): the proxy is not to be sent anything new.
  virtual bool health_check_failed() const = 0;
  // Whether connections of this listener are to end then (drain_type DEFAULT; not with MODIFY_ONLY).
  virtual bool drains_on_health_check() const { return true; }

 protected:
  ~NetworkFilterContext() = default;
};

// Sees what comes from downstream, in the order of configuration; the last one is terminal (it consumes all).
// One object a connection. Destroyed when the connection is over, after on_closed.
class NetworkFilter : public ConnectionObserver {
 public:
  virtual ~NetworkFilter() = default;
  virtual void init(NetworkFilterContext& context) = 0;
  // Before any data. stop: later filters wait for continue_reading().
  virtual FilterStatus on_new_connection() { return FilterStatus::proceed; }
  // The transport socket's handshake is over: stream_info().downstream_tls is set. Not called without one.
  virtual void on_secured() {}
  // `data` holds all that no filter has taken yet; take with move_front_to/drain. end_stream comes once.
  virtual FilterStatus on_data(Buffer& data, bool end_stream) = 0;
  // Somebody looks at stream_info now (sluicectl connections): fill in what is costly to keep current.
  virtual void refresh_stream_info() {}
  // Its drain has come to this connection: nothing new is to begin on it. Once.
  virtual void on_drain() {}
  // The last word, exactly once on every path: stream_info is complete, access logs are written after it.
  virtual void on_end() {}
};

struct NetworkFilterScope {
  stats::Scope root;  // of the worker
  stats::Scope listener;  // "listener.<address>."
  uint32_t buffer_limit = 1 << 20;  // bytes; per_connection_buffer_limit_bytes of the listener
};
// Makes the filter of one connection. One a worker: it holds that worker's statistics handles.
using NetworkFilterMaker = std::function<std::unique_ptr<NetworkFilter>()>;
// The parsed, immutable configuration of a filter, shared by all workers; each asks it once for its maker.
using NetworkFilterFactory = std::function<NetworkFilterMaker(const NetworkFilterScope& scope)>;

}  // namespace sluice::ext
