#include "server/server.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/log.h"
#include "core/memory.h"
#include "core/random.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "extensions/access_loggers/file/log_manager.h"
#include "server/admin_server.h"
#include "server/original_src.h"

namespace sluice::server {
namespace {

// Uptime and the like; and how often workloads whose pods are gone are looked for.
constexpr Duration kTick = std::chrono::seconds(5);
// Who waits longer than this for names, endpoints or routes at the start can be asked by the control socket what for.
constexpr Duration kSilentStart = std::chrono::milliseconds(100);
// How often a drain looks whether it is done.
constexpr Duration kDrainTick = std::chrono::milliseconds(25);
// Turns of the control loop given to answers and operations under way at the end.
constexpr int kLastTurns = 1000;

// A proxy needs two descriptors a connection: takes what the hard limit allows.
void raise_descriptor_limit() {
  rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == r.rlim_max) return;
  r.rlim_cur = r.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &r) != 0) SLUICE_LOG(main, warn, "RLIMIT_NOFILE stays at {}", r.rlim_cur);
}

}  // namespace

config::LoadOptions load_options(const Options& o) {
  return {.path = o.config_path,
          .yaml = o.config_yaml,
          .service_node = o.service_node,
          .service_cluster = o.service_cluster,
          .service_zone = o.service_zone};
}

// "server.": this thread writes all of it.
struct Server::ServerStats {
  explicit ServerStats(const stats::Scope& root) {
    stats::Scope s = root.scope("server");
    live = s.gauge("live");
    state = s.gauge("state");
    uptime = s.gauge("uptime");
    concurrency = s.gauge("concurrency");
    total_connections = s.gauge("total_connections");
    workers_started = root.scope("listener_manager").gauge("workers_started");
  }
  stats::Gauge live, state, uptime, concurrency, total_connections, workers_started;
};

Server::Server(Options options, const ext::Registry& registry)
    : options_(std::move(options)), registry_(registry) {}

Server::~Server() {
  // What the control thread's own operations still have in flight ends before the loop does.
  auto settle = [&] {
    for (int i = 0;
         loop_ && i < kLastTurns && (i == 0 || loop_->ops_in_flight() > 0 || (admin_ && !admin_->idle()));
         ++i)
      loop_->run_once(std::chrono::milliseconds(1));
  };
  // The kernel side first: with the sockets gone it applies the fail modes.
  workloads_.reset();
  workers_.clear();
  identities_.reset();
  if (dynamic_) dynamic_->stop();
  if (admin_) admin_->stop();
  if (signals_) signals_->stop();
  settle();
  listeners_.reset();
  configuration_ = {};  // holds what dynamic_ gave out
  // Clusters' interest in endpoints ends before what they come from.
  if (dynamic_) dynamic_->release();
  clusters_.reset();
  dynamic_.reset();
  settle();
  admin_.reset();
  signals_.reset();
  tick_timer_.reset();
  heap_trim_.reset();
  hook_watch_.reset();
  grace_timer_.reset();
  drain_timer_.reset();
  if (access_logs_) access_logs_->flush();
}

Status Server::start() {
  raise_descriptor_limit();
  io::LoopOptions control = options_.loop;
  control.receive_buffers = 8;
  control.spin = Duration(0);  // nobody waits for microseconds here
  SLUICE_ASSIGN(loop_, io::make_loop(control));
  started_ = loop_->now();
  store_ = std::make_unique<stats::Store>(options_.concurrency + 1);
  stats_ = std::make_unique<ServerStats>(store_->root(0));
  stats_->concurrency.set(options_.concurrency);
  access_logs_ = std::make_unique<access_loggers::FileLogManager>(
      store_->root(0), access_loggers::FileLogManager::Options{
                           .flush_interval = std::chrono::duration_cast<std::chrono::milliseconds>(
                               options_.file_flush_interval)});

  dynamic_ = std::make_unique<DynamicConfig>(*loop_, *store_, registry_, *access_logs_,
                                             options_.redirect == RedirectMode::ebpf);
  SLUICE_ASSIGN(configuration_, config::load_configuration(load_options(options_), registry_, *access_logs_,
                                                           &dynamic_->discovery(), &dynamic_->secrets()));
  config_loaded_at_ = loop_->wall_now();
  set_state(admin::State::initializing);

  SLUICE_ASSIGN(signals_,
                Signals::watch(*loop_, {SIGTERM, SIGINT, SIGUSR1, SIGHUP}, [this](int s) { on_signal(s); }));
  if (options_.redirect == RedirectMode::ebpf) SLUICE_TRY(start_redirect());
  original_destinations_ = std::make_unique<SystemOriginalDestinations>(redirector_.get());
  admin_ = std::make_unique<AdminServer>(*this);
  SLUICE_TRY(admin_->start_admin());
  SLUICE_TRY(start_workers());
  SLUICE_ASSIGN(const bool clusters_ready, start_clusters());
  if (!clusters_ready) return {};
  SLUICE_TRY(start_listeners());
  if (stopping_) return {};
  SLUICE_TRY(admin_->start_control());

  release_free_memory();  // reading a configuration takes several times what it leaves
  release_code_pages();
  set_state(admin::State::live);
  stats_->live.set(1);
  tick_timer_ = std::make_unique<io::Timer>(loop_->timers(), &tick, this);
  tick(*tick_timer_);
  heap_trim_ = std::make_unique<HeapTrim>(*loop_);
  SLUICE_LOG(main, info, "sluiced is ready: {} listeners, {} clusters, {} workers on {}{}",
             listeners_->active().size(), configuration_.model.config->clusters.size(), workers_.size(),
             workers_[0]->backend(), redirector_ ? ", eBPF interception in force" : "");
  return {};
}

Status Server::start_redirect() {
  redirect::Options o;
  SLUICE_ASSIGN(o.return_path, uses_original_src(*configuration_.bootstrap.message(), o.transparent_mark));
  o.bpffs_root = options_.bpffs_root;
  o.cgroup_path = options_.cgroup;
  o.state_dir = options_.state_dir;
  SLUICE_ASSIGN(redirector_, redirect::Redirector::attach(o));
  SLUICE_ASSIGN(uint64_t cgroup, redirect::own_cgroup_id());
  SLUICE_TRY(redirector_->set_proxy_identity(cgroup));
  hook_watch_ = std::make_unique<HookWatch>(*loop_, *redirector_, store_->root(0));
  return {};
}

Status Server::start_workers() {
  const model::Node& node = configuration_.model.node;
  clusters_ = std::make_unique<upstream::ClusterDirectory>(
      *loop_, *store_,
      upstream::ClusterDirectory::Options{.seed = random_seed(),
                                          .locality = {node.region, node.zone, node.sub_zone},
                                          .local_cluster = configuration_.model.local_cluster});
  SLUICE_TRY(dynamic_->start_primary_clusters(configuration_, *clusters_, random_seed()));
  io::LoopOptions loop = options_.loop;
  loop_->leave_netns();  // the node's own devices are asked
  loop.kernel_tls = io::choose_kernel_tls(options_.ktls);
  for (unsigned i = 0; i < options_.concurrency; ++i) {
    proxy::Worker::Options w{
        .index = i, .seed = random_seed(), .original_destinations = original_destinations_.get()};
    SLUICE_ASSIGN(auto worker, WorkerThread::start(loop, w, *store_, [&](proxy::Worker& me) {
                    return clusters_->make_worker(me.loop(), i + 1, random_seed());
                  }));
    workers_.push_back(std::move(worker));
  }
  stats_->workers_started.set(1);
  return {};
}

Result<bool> Server::start_clusters() {
  SLUICE_TRY(wait_for_clusters());
  if (stopping_) return false;
  SLUICE_TRY(dynamic_->start_secondary_clusters());
  SLUICE_TRY(wait_for_clusters());
  if (stopping_) return false;
  SLUICE_TRY(dynamic_->start_cds());
  SLUICE_TRY(wait_until([this] { return dynamic_->clusters_known(); }));
  if (!stopping_) SLUICE_TRY(wait_for_clusters());
  if (stopping_) return false;
  clusters_->set_initialized();
  return true;
}

// Names are resolved before anybody is served, as in Envoy: the admin interface answers meanwhile.
Status Server::wait_for_clusters() {
  bool warm = false;
  clusters_->when_warm([&] { warm = true; });
  Status done = wait_until([&] { return warm; });
  if (!warm) clusters_->when_warm(nullptr);
  return done;
}

Status Server::wait_until(const std::function<bool()>& done) {
  const MonotonicTime silent_until = loop_->now() + kSilentStart;
  while (!done() && !stopping_) {
    const Duration silent = silent_until - loop_->now();
    if (silent <= Duration(0)) SLUICE_TRY(admin_->start_control());
    loop_->run_once(silent > Duration(0) ? silent : Duration(std::chrono::seconds(1)));
  }
  return {};
}

// Those that wait for routes serve when these have come; the process is live when none waits any more, as in Envoy.
Status Server::start_listeners() {
  listeners_ = std::make_unique<ListenerManager>(
      *loop_, store_->root(0),
      ListenerManager::Options{.drain = drain_plan(), .interception = redirector_ != nullptr}, workers_);
  for (const auto& listener : configuration_.model.config->listeners)
    SLUICE_TRY(listeners_->put(listener, {false, "", config_loaded_at_, nullptr}));
  if (redirector_)
    dynamic_->set_listener_check([this](const google::protobuf::Message& message) -> Status {
      const auto& listener = static_cast<const envoy::config::listener::v3::Listener&>(message);
      SLUICE_ASSIGN(bool uses, uses_original_src(listener, redirector_->options().transparent_mark, ""));
      return uses ? redirector_->enable_return_path() : Status();
    });
  SLUICE_TRY(dynamic_->start_listeners(*listeners_));
  listeners_->start();
  SLUICE_TRY(wait_until([this] { return listeners_->warm() && dynamic_->initialized(); }));
  if (redirector_ && !stopping_) start_workloads();
  return {};
}

void Server::start_workloads() {
  xds::Secrets& secrets = dynamic_->secrets();
  identities_ = std::make_unique<Identities>(*loop_, store_->root(0), secrets.surroundings(),
                                             secrets.workloads(), *dynamic_);
  workloads_ = std::make_unique<Workloads>(*loop_, *redirector_, workers_, *identities_);
  listeners_->when_workload_listeners_change([this] {
    workloads_->set_listeners(listeners_->active());
    workloads_->restore();
  });
  workloads_->set_listeners(listeners_->active());
  workloads_->restore();
}

int Server::run() {
  while (!ended_) loop_->run_once(std::chrono::seconds(1));
  SLUICE_LOG(main, info, "sluiced ends");
  return 0;
}

void Server::on_signal(int signal) {
  switch (signal) {
    case SIGUSR1:
      access_logs_->reopen();
      SLUICE_LOG(main, info, "access logs reopened");
      break;
    case SIGHUP:
      SLUICE_LOG(main, info,
                 "SIGHUP has no meaning here: the bootstrap is read at start, and what changes comes from "
                 "watched files "
                 "and control planes (dynamic_resources)");
      break;
    default:
      if (stopping_) {
        SLUICE_LOG(main, info, "second signal: ending now");
        ended_ = true;
      } else {
        shut_down(signal == SIGTERM ? "SIGTERM" : "SIGINT");
      }
  }
}

void Server::set_state(admin::State state) {
  state_ = state;
  stats_->state.set(static_cast<uint64_t>(state));
}

void Server::fail_health_checks(bool fail) {
  for (auto& w : workers_) w->post([fail](proxy::Worker& me) { me.set_health_check_failed(fail); });
}

void Server::drain(bool inbound_only) {
  const proxy::DrainPlan plan = drain_plan();
  for (auto& w : workers_) w->post([=](proxy::Worker& me) { me.drain(plan, inbound_only); });
}

void Server::stop_accepting(bool inbound_only) {
  if (workloads_ && !inbound_only) workloads_->close_listeners();
  if (listeners_)
    listeners_->stop_accepting(inbound_only);  // the admin interface answers before there are any
}

void Server::shut_down(const char* why) {
  if (stopping_) return;
  stopping_ = true;
  dynamic_->stop();
  if (!listeners_) {
    SLUICE_LOG(main, info, "{} before there were listeners", why);
    ended_ = true;
    return;
  }
  set_state(admin::State::draining);
  stats_->live.set(0);
  SLUICE_LOG(main, info, "{}: no new connections; {} get up to {} s to end", why, connections(),
             std::chrono::duration_cast<std::chrono::seconds>(options_.shutdown_grace).count());
  stop_accepting(false);
  for (auto& w : workers_) w->post([](proxy::Worker& me) { me.drain_when_closed(); });
  grace_timer_ = std::make_unique<io::Timer>(loop_->timers(), &grace_over, this);
  grace_timer_->arm(loop_->now() + options_.shutdown_grace);
  if (!tick_timer_) tick_timer_ = std::make_unique<io::Timer>(loop_->timers(), &tick, this);
  tick_timer_->arm(loop_->now());
}

void Server::check_drained() {
  bool idle = true;
  for (auto& w : workers_) w->call([&](proxy::Worker& me) { idle &= me.idle(); });
  ended_ |= idle;
}

void Server::grace_over(io::Timer& timer) {
  Server& self = *timer.owner<Server>();
  if (uint64_t n = self.connections(); n > 0)
    SLUICE_LOG(main, warn, "--shutdown-grace-s is over: {} connections are reset", n);
  self.ended_ = true;
}

uint64_t Server::connections() {
  uint64_t n = 0;
  for (auto& w : workers_) w->call([&](proxy::Worker& me) { n += me.connection_count(); });
  return n;
}

void Server::tick(io::Timer& timer) {
  Server& self = *timer.owner<Server>();
  auto up = std::chrono::duration_cast<std::chrono::seconds>(self.loop_->now() - self.started_);
  self.stats_->uptime.set(static_cast<uint64_t>(up.count()));
  if (self.stopping_) {
    self.check_drained();
    timer.arm(self.loop_->now() + kDrainTick);
    return;
  }
  self.stats_->total_connections.set(self.connections());
  if (self.workloads_) self.workloads_->reconcile();
  timer.arm(self.loop_->now() + kTick);
}

}  // namespace sluice::server
