#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/translate.h"
#include "core/stats.h"
#include "io/loop.h"
#include "proxy/upstream/cluster_manager.h"
#include "redirect/redirector.h"
#include "server/admin/view.h"
#include "server/dynamic_config.h"
#include "server/heap_trim.h"
#include "server/hook_watch.h"
#include "server/listener_manager.h"
#include "server/options.h"
#include "server/original_destinations.h"
#include "server/signals.h"
#include "server/worker_thread.h"
#include "server/workloads.h"
#include "sluice/ext/registry.h"

namespace sluice::server {

class AdminServer;

// The process: a control thread (this one) and its workers. start() is all or nothing; run() ends after a drain.
class Server {
 public:
  Server(Options options, const ext::Registry& registry);
  ~Server();

  Status start();
  // Until SIGTERM, SIGINT or /quitquitquit. The exit status.
  int run();
  // From the control thread: begins to drain; run() returns when connections have ended or the grace time is over.
  void shut_down(const char* why);

  admin::State state() const { return state_; }

 private:
  friend class AdminServer;

  Status start_redirect();
  Status start_workers();
  // In Envoy's order; false: told to stop.
  Result<bool> start_clusters();
  Status wait_for_clusters();
  // Turns of the loop until `done`, or until somebody wants the process to end. An error: of the control socket.
  Status wait_until(const std::function<bool()>& done);
  Status start_listeners();
  void start_workloads();
  void on_signal(int signal);
  void check_drained();
  void set_state(admin::State state);
  proxy::DrainPlan drain_plan() const {
    return {.time = options_.drain_time, .gradual = options_.drain_gradually};
  }
  void drain(bool inbound_only);
  void fail_health_checks(bool fail);
  // Closes listening sockets: all, or the inbound ones only.
  void stop_accepting(bool inbound_only);
  uint64_t connections();
  static void tick(io::Timer& timer);
  static void grace_over(io::Timer& timer);

  const Options options_;
  const ext::Registry& registry_;
  std::unique_ptr<stats::Store> store_;
  std::unique_ptr<io::Loop> loop_;
  std::unique_ptr<ext::AccessLogManager> access_logs_;
  config::Configuration configuration_;
  std::unique_ptr<redirect::Redirector> redirector_;
  std::unique_ptr<HookWatch> hook_watch_;
  std::unique_ptr<SystemOriginalDestinations> original_destinations_;
  std::unique_ptr<upstream::ClusterDirectory> clusters_;
  std::vector<std::unique_ptr<WorkerThread>> workers_;
  std::unique_ptr<DynamicConfig> dynamic_;
  std::unique_ptr<ListenerManager> listeners_;
  std::unique_ptr<Identities> identities_;
  std::unique_ptr<Workloads> workloads_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<Signals> signals_;
  std::unique_ptr<HeapTrim> heap_trim_;
  std::unique_ptr<io::Timer> tick_timer_, grace_timer_, drain_timer_;
  std::optional<admin::DrainRequest> graceful_drain_;  // the one that is under way, or over
  admin::State state_ = admin::State::pre_initializing;
  MonotonicTime started_{};
  WallTime config_loaded_at_{};
  bool stopping_ = false;
  bool ended_ = false;

  struct ServerStats;
  std::unique_ptr<ServerStats> stats_;
};

}  // namespace sluice::server
