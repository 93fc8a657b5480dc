#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/stats.h"
#include "io/loop.h"
#include "model/listener.h"
#include "proxy/drain.h"
#include "server/listen.h"
#include "server/worker_thread.h"

namespace google::protobuf {
class Message;
}

namespace sluice::server {

// Where a listener came from, for /config_dump.
struct ListenerOrigin {
  bool discovered = false;  // else from the bootstrap
  std::string version;
  WallTime at{};
  std::shared_ptr<const google::protobuf::Message> message;  // null: it stands in the bootstrap
};

// The listeners of the process, those of the bootstrap and those that are discovered. A listener warms until all that it
// needs is there, and the one it replaces serves meanwhile; a change of filter chains alone leaves the connections of the
// others in peace. https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/lds  Control thread.
class ListenerManager {
 public:
  struct Version {
    std::shared_ptr<const model::Listener> listener;  // null: there is none
    ListenerOrigin origin;
    std::vector<SocketGroup> sockets;  // active: the descriptors are the workers'
  };
  struct Failure {
    std::string details;
    ListenerOrigin origin;
  };
  struct Entry {
    Version active, warming;
    std::shared_ptr<Failure> failure;  // the last update that was refused; null: it was not
    bool discovered = false;
    uint64_t order = 0;  // by when it was first there
  };
  struct Draining {
    std::string name;
    Version version;
    MonotonicTime until{};
    size_t chains = 0;  // an update in place: only so many chains drain; 0: the whole listener does
  };
  struct Options {
    proxy::DrainPlan drain;
    // Listeners for enrolled workloads are opened in their namespaces, not here.
    bool interception = false;
  };

  ListenerManager(io::Loop& loop, const stats::Scope& root, Options options,
                  std::vector<std::unique_ptr<WorkerThread>>& workers);
  ~ListenerManager();

  // Adds or changes. Nothing happens if it equals what is there. An error (its address cannot be had): all stays as it
  // was. `last` is done once nothing else can refuse it, and may.
  Status put(std::shared_ptr<const model::Listener> listener, ListenerOrigin origin,
             const std::function<Status()>& last = nullptr);
  // Those of the bootstrap stay. False: there is no such one.
  bool remove(const std::string& name);
  // An update of `name` was refused before it came here.
  void note_failure(const std::string& name, std::string details, ListenerOrigin origin);
  // From now on listeners whose needs are met serve.
  void start();
  // Looks at those that warm, at the end of this turn: something has become ready.
  void check_warming();
  // True once start() was called and nothing warms.
  bool warm() const { return started_ && warming_ == 0; }
  // Told when the listeners that enrolled workloads get have changed so that other sockets are needed.
  void when_workload_listeners_change(std::function<void()> f) { on_workload_listeners_ = std::move(f); }

  // No more of either: the sockets are closed, connections go on.
  void stop_accepting(bool inbound_only);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::list<Draining>& draining() const { return draining_; }
  // Those that serve, the oldest first.
  std::vector<const Version*> active_versions() const;
  std::vector<std::shared_ptr<const model::Listener>> active() const;

 private:
  bool stopped(const model::Listener& l) const;
  Status check_address(const model::Listener& listener) const;
  bool opens_here(const model::Listener& listener) const;
  void set_warming(Entry& entry, Version version);
  void drop_warming(Entry& entry);
  Status activate(Entry& entry);
  void drain(Version old, size_t chains);
  void update_gauges();
  bool workloads_notice(const model::Listener* before, const model::Listener* after) const;
  static void look(io::TurnEnd& hook);
  static void drained(io::Timer& timer);

  io::Loop& loop_;
  Options options_;
  std::vector<std::unique_ptr<WorkerThread>>& workers_;
  std::map<std::string, Entry> entries_;
  std::list<Draining> draining_;
  size_t warming_ = 0;
  uint64_t orders_ = 0;
  bool started_ = false, stopped_ = false, inbound_stopped_ = false;
  std::function<void()> on_workload_listeners_;
  io::TurnEnd look_;
  io::Timer drain_timer_;
  stats::Counter added_, modified_, removed_, in_place_updated_, create_success_, create_failure_,
      stopped_count_;
  stats::Gauge total_active_, total_warming_, total_draining_, chains_draining_;
};

}  // namespace sluice::server
