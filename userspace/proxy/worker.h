#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/random.h"
#include "core/stats.h"
#include "io/loop.h"
#include "proxy/drain.h"
#include "proxy/listener.h"
#include "proxy/loop_guard.h"
#include "sluice/ext/upstream.h"

namespace sluice::proxy {

class Downstream;

// Tells where an accepted connection had wanted to go. Thread-safe.
class OriginalDestinations {
 public:
  virtual ~OriginalDestinations() = default;
  // `local` is the accepted socket's own address. Nothing: the connection was not redirected.
  virtual std::optional<Address> find(int fd, const Address& local, const Address& listening) = 0;
};

// A listening socket handed to a worker. It shares its address with those of the other workers (SO_REUSEPORT).
struct ListenSocket {
  int fd = -1;  // owned by the worker from then on
  Address bound;
  std::shared_ptr<const model::Listener> listener;
  std::shared_ptr<const Workload> workload;  // null: the proxy's own network namespace
};

// What becomes of connections that the kernel has completed on a socket that is closed, and nobody has accepted yet.
enum class Backlog : uint8_t {
  reset,  // as close(2) does it
  serve,  // they are accepted first, for a moment longer
};

// A connection as `sluicectl connections` shows it.
struct ConnectionSnapshot {
  uint64_t id;
  std::string workload, listener, filter_chain, cluster;
  Address downstream_local, downstream_remote, original_destination, upstream_local, upstream_remote;
  uint64_t bytes_received, bytes_sent;
  int64_t age_ms;
};

// One thread's share of the proxy: its loop, listening sockets, connections and clusters. Nothing of it is touched by
// another thread; the control thread posts to the loop.
class Worker {
 public:
  struct Options {
    unsigned index = 0;  // statistics slot index + 1
    uint64_t seed = 1;
    OriginalDestinations* original_destinations = nullptr;  // outlives the worker
  };
  using MakeClusters = std::function<std::unique_ptr<ext::ClusterManager>(Worker&)>;

  Worker(io::Loop& loop, stats::Store& store, const Options& options, const MakeClusters& make_clusters);
  ~Worker();
  Worker(const Worker&) = delete;

  // ---- on the loop's thread ----
  // Adds a listener or puts it in the place of the one with its name: its sockets serve the new one, connections keep
  // what they started with; those on filter chains that are no more are drained.
  void put_listener(const std::shared_ptr<const model::Listener>& listener, const DrainPlan& drain = {});
  // Closes its sockets and drains its connections, those of their backlog too.
  void remove_listener(const std::string& name, const DrainPlan& drain);
  // A socket of a listener that was put.
  void add_socket(ListenSocket socket);
  // Its sockets in this process' namespace get its socket options and backlog. Both are such as can be had.
  void adjust_sockets(const std::shared_ptr<const model::Listener>& listener);
  // Stops accepting on the sockets that `which` picks and closes them. Connections go on.
  void close_sockets(const std::function<bool(const ListenSocket&)>& which, Backlog backlog = Backlog::reset);
  void close_all_sockets() {
    close_sockets([](const ListenSocket&) { return true; });
  }
  // Tells connections that they are drained, by the plan: HTTP ends its keep-alive; TCP goes on. inbound_only: those of
  // listeners whose traffic_direction is INBOUND.
  void drain(const DrainPlan& plan, bool inbound_only) {
    if (!ending_) drainer_.begin_all(plan, inbound_only);
  }
  // All at once, since the process is about to end; health checks fail from now on.
  void set_draining();
  // The same when the last socket is closed: a client that is told to go elsewhere, and comes back at once, must not come to
  // a socket that is about to close.
  void drain_when_closed();
  // What health checks of the proxy itself are answered; HTTP connections drain while they fail. At its end they do.
  void set_health_check_failed(bool failed) { health_check_failed_ = failed || ending_; }
  // A workload has gone: pooled connections opened in its namespace go, and nothing of its identity stays.
  void forget_workload(uint64_t netns_cookie);
  // Resets what is still open; for the end of a drain. `which` null: all.
  void close_connections(const std::function<bool(const Downstream&)>& which);
  std::vector<ConnectionSnapshot> connections() const;
  // `f` may end the connection it is given, no other.
  void for_each_connection(const std::function<void(Downstream&)>& f);
  size_t connection_count() const { return connection_count_; }
  bool idle() const { return connection_count_ == 0 && sockets_.empty(); }

  // ---- for connections ----
  io::Loop& loop() { return loop_; }
  Random& random() { return random_; }
  ext::ClusterManager& clusters() { return *clusters_; }
  OriginalDestinations* original_destinations() { return options_.original_destinations; }
  const Listeners& listeners() const { return listeners_; }
  const LoopGuard& loop_guard() const { return loop_guard_; }
  uint64_t next_connection_id();
  const Drainer& drainer() const { return drainer_; }
  bool health_check_failed() const { return health_check_failed_; }
  stats::Scope stats_root() { return store_.root(options_.index + 1); }
  unsigned index() const { return options_.index; }

 private:
  friend class Downstream;
  struct Socket;

  using SocketIterator = std::list<std::unique_ptr<Socket>>::iterator;
  SocketIterator find(const Socket& socket);
  SocketIterator forget_socket(SocketIterator it);
  static void accepted(io::Op& op, io::Completion& c);
  // A connection has ended: buffers that a bulk transfer has left are given back a little later.
  void connection_ended();
  static void trim(io::Timer& timer);

  io::Loop& loop_;
  stats::Store& store_;
  Options options_;
  Random random_;
  std::unique_ptr<ext::ClusterManager> clusters_;
  Listeners listeners_;
  std::list<std::unique_ptr<Socket>> sockets_;
  LoopGuard loop_guard_;  // knows `sockets_`
  Downstream* connections_ = nullptr;  // intrusive list
  size_t connection_count_ = 0;
  uint64_t connections_made_ = 0;
  bool ending_ = false;  // set_draining was called
  bool drain_when_closed_ = false;
  Drainer drainer_;
  bool health_check_failed_ = false;
  io::Timer trim_timer_;
};

}  // namespace sluice::proxy
