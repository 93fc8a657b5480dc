#include "proxy/upstream/health_checker.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "core/log.h"

namespace sluice::upstream {

using Flag = HostMonitor::Flag;
using std::chrono::milliseconds;

HealthCheckStats::HealthCheckStats(const stats::Scope& cluster) {
  const stats::Scope s = cluster.scope("health_check");
  attempt = s.counter("attempt");
  success = s.counter("success");
  failure = s.counter("failure");
  passive_failure = s.counter("passive_failure");
  network_failure = s.counter("network_failure");
  healthy = s.gauge("healthy");
  degraded = s.gauge("degraded");
}

// One host: when it is asked next, and what its answers come to. The thresholds are Envoy's
// HealthCheckerImplBase::ActiveHealthCheckSession.
class HealthChecker::Session final : private health::Probe::Owner {
 public:
  Session(HealthChecker& checker, HostPtr host)
      : checker_(checker),
        host_(std::move(host)),
        address_(host_->health_address()),
        probe_(health::make_probe(checker.probes_, target(), *this)),
        interval_timer_(checker.loop_.timers(), &on_interval, this),
        timeout_timer_(checker.loop_.timers(), &on_timeout, this) {
    ++checker_.unasked_;
    if (!has(Flag::failed_active_check)) checker_.stats_.healthy.add();
    if (has(Flag::degraded_active_check)) checker_.stats_.degraded.add();
  }
  ~Session() {
    if (!has(Flag::failed_active_check)) checker_.stats_.healthy.sub();
    if (has(Flag::degraded_active_check)) checker_.stats_.degraded.sub();
    if (first_check_) checker_.first_check_over();
  }

  void start() {
    const Duration jitter = checker_.config_.initial_jitter;
    if (jitter.count() == 0) return ask();
    interval_timer_.arm(checker_.loop_.now() + checker_.with_jitter({}, jitter));
  }
  const HostPtr& host() const { return host_; }
  // The same host with another weight, say; false: it is asked elsewhere.
  bool replace(const HostPtr& host) {
    if (host->health_address() != address_) return false;
    host_ = host;
    return true;
  }
  // Conclusions ------------------------------------------------------------------------------------------------
  void failed_by_response();

 private:
  bool has(Flag f) const { return host_->monitor().has(f); }
  void set(Flag f, bool on) { host_->monitor().set(f, on); }
  health::Target target() const;

  static void on_interval(io::Timer& timer) { timer.owner<Session>()->ask(); }
  static void on_timeout(io::Timer& timer) {
    Session& s = *timer.owner<Session>();
    s.probe_->give_up();
    s.failed_and_again(Failure::network_timeout, {});
  }
  void on_answer(const health::Answer& answer) override;
  void ask();
  void again(bool healthy, Change change);
  void succeeded(bool degraded);
  void failed_and_again(Failure why, const health::Answer& answer);
  Change fail(Failure why, const health::Answer& answer);
  Change settle_pending(Change change);
  void end_first_check() {
    if (std::exchange(first_check_, false)) checker_.first_check_over();
  }

  HealthChecker& checker_;
  HostPtr host_;
  const Address address_;
  const std::unique_ptr<health::Probe> probe_;
  io::Timer interval_timer_, timeout_timer_;
  uint32_t successes_ = 0, failures_ = 0;  // in a row
  bool first_check_ = true;
};

health::Target HealthChecker::Session::target() const {
  const auto& kind = checker_.config_.kind;
  const Host::Description& d = host_->description();
  std::string authority = d.health_hostname;
  if (authority.empty()) {
    if (const auto* http = std::get_if<model::HttpHealthCheck>(&kind)) authority = http->host;
    if (const auto* grpc = std::get_if<model::GrpcHealthCheck>(&kind)) authority = grpc->authority;
  }
  if (authority.empty()) authority = checker_.cluster_->name;
  const auto* metadata = checker_.config_.transport_metadata.get();
  return {.address = address_,
          .authority = std::move(authority),
          .host = d.address,
          .hostname = d.hostname,
          .transport = checker_.transports_.find(metadata ? metadata : d.transport_metadata.get()),
          .peer = host_.get()};
}

void HealthChecker::Session::ask() {
  probe_->check();
  timeout_timer_.arm(checker_.loop_.now() + checker_.config_.timeout);
  checker_.stats_.attempt.add();
}

void HealthChecker::Session::again(bool healthy, Change change) {
  timeout_timer_.cancel();
  interval_timer_.arm(checker_.loop_.now() + checker_.interval(healthy, change));
}

void HealthChecker::Session::on_answer(const health::Answer& answer) {
  using Kind = health::Answer::Kind;
  if (answer.exclude) set(Flag::excluded_by_response, true);
  switch (answer.kind) {
    case Kind::well:
      return succeeded(false);
    case Kind::degraded:
      return succeeded(true);
    case Kind::unwell:
    case Kind::retriable:
      return failed_and_again(Failure::active, answer);
    case Kind::unreachable:
      return failed_and_again(Failure::network, answer);
  }
}

void HealthChecker::Session::succeeded(bool degraded) {
  HealthEvents& events = checker_.events_;
  failures_ = 0;
  Change change = Change::none;
  if (has(Flag::failed_active_check)) {
    change = Change::pending;
    if (first_check_ || ++successes_ == checker_.config_.healthy_threshold) {
      change = Change::done;
      set(Flag::active_check_timeout, false);
      set(Flag::excluded_by_response, false);
      set(Flag::failed_active_check, false);
      checker_.stats_.healthy.add();
      events.added_healthy(*host_, first_check_);
      SLUICE_LOG(upstream, info, "cluster {}: {} is healthy", checker_.cluster_->name,
                 host_->address().to_string());
    }
  }
  if (change != Change::done && checker_.config_.always_log_success) events.succeeded(*host_);
  change = settle_pending(change);
  if (degraded != has(Flag::degraded_active_check)) {
    set(Flag::degraded_active_check, degraded);
    if (degraded) {
      checker_.stats_.degraded.add();
      events.degraded(*host_);
    } else {
      checker_.stats_.degraded.sub();
      events.no_longer_degraded(*host_);
    }
    if (change == Change::none) change = Change::done;
  }
  checker_.stats_.success.add();
  if (!has(Flag::failed_active_check)) checker_.owner_.on_well(host_);
  checker_.concluded(*this, change);
  end_first_check();
  again(true, change);
}

HealthChecker::Change HealthChecker::Session::fail(Failure why, const health::Answer& answer) {
  const bool retriable = answer.kind == health::Answer::Kind::retriable;
  constexpr std::string_view kNames[] = {"ACTIVE", "PASSIVE", "NETWORK", "NETWORK_TIMEOUT"};
  const std::string_view name = kNames[static_cast<size_t>(why)];
  const bool network = why == Failure::network || why == Failure::network_timeout;
  HealthEvents& events = checker_.events_;
  successes_ = 0;
  Change change = Change::none;
  if (!has(Flag::failed_active_check)) {
    change = Change::pending;
    if ((!network && !retriable) || ++failures_ == checker_.config_.unhealthy_threshold) {
      change = Change::done;
      set(Flag::failed_active_check, true);
      checker_.stats_.healthy.sub();
      host_->monitor().healthy_since.store(MonotonicTime{}, std::memory_order_relaxed);  // slow start anew
      events.ejected(*host_, name, answer.status);
      SLUICE_LOG(upstream, info, "cluster {}: {} is unhealthy: {}", checker_.cluster_->name,
                 host_->address().to_string(), name);
    }
  }
  set(Flag::active_check_timeout, why == Failure::network_timeout && has(Flag::failed_active_check));
  change = settle_pending(change);
  if (first_check_ || checker_.config_.always_log_failures)
    events.failed(*host_, name, first_check_, answer.status);
  checker_.stats_.failure.add();
  if (network) checker_.stats_.network_failure.add();
  if (why == Failure::passive) checker_.stats_.passive_failure.add();
  checker_.concluded(*this, change);
  end_first_check();
  return change;
}

// Asked for again when it is due anyway.
void HealthChecker::Session::failed_by_response() {
  fail(Failure::passive, {.kind = health::Answer::Kind::unwell});
}

void HealthChecker::Session::failed_and_again(Failure why, const health::Answer& answer) {
  again(false, fail(why, answer));
}

// A host that did not count until now does from now on: that is a change whatever it answered.
HealthChecker::Change HealthChecker::Session::settle_pending(Change change) {
  if (!has(Flag::pending_active_check)) return change;
  set(Flag::pending_active_check, false);
  return Change::done;
}

// ---- all hosts ----

HealthChecker::HealthChecker(io::Loop& loop, Random& random, std::shared_ptr<const model::Cluster> cluster,
                             const stats::Scope& scope, std::function<bool()> had_traffic, Owner& owner)
    : loop_(loop),
      random_(random),
      cluster_(std::move(cluster)),
      config_(*cluster_->health_check),
      stats_(scope),
      had_traffic_(std::move(had_traffic)),
      owner_(owner),
      events_(loop, *cluster_),
      probes_(loop, cluster_, config_, scope),
      transports_(*cluster_, scope, loop),
      turn_end_(&at_turn_end, this) {}

HealthChecker::~HealthChecker() {
  awaited_ = false;
  sessions_.clear();
}

void HealthChecker::set_hosts(const HostVector& hosts, bool pending, bool keep_flags) {
  std::unordered_set<const void*> present;
  std::vector<Session*> fresh;
  for (const HostPtr& h : hosts) {
    if (h->description().health_check_disabled) continue;
    present.insert(h->identity());
    std::unique_ptr<Session>& s = sessions_[h->identity()];
    if (s && s->replace(h)) continue;
    if (!s && !keep_flags) {
      h->monitor().set(Flag::failed_active_check, true);
      if (pending) h->monitor().set(Flag::pending_active_check, true);
    }
    s = std::make_unique<Session>(*this, h);
    fresh.push_back(s.get());
  }
  std::erase_if(sessions_, [&](const auto& entry) { return !present.contains(entry.first); });
  for (Session* s : fresh) s->start();
}

void HealthChecker::await_first_round() {
  awaited_ = true;
  if (unasked_ == 0) loop_.schedule(turn_end_);
}

void HealthChecker::first_check_over() {
  if (--unasked_ == 0 && awaited_) loop_.schedule(turn_end_);
}

void HealthChecker::failed_by_response(const HostPtr& host) {
  auto it = sessions_.find(host->identity());
  if (it == sessions_.end()) return;
  host->monitor().set(Flag::excluded_by_response, true);
  it->second->failed_by_response();
}

void HealthChecker::concluded(Session& s, Change change) {
  if (change != Change::done) return;
  changed_ = true;
  if (s.host()->monitor().has(Flag::failed_active_check)) failed_.push_back(s.host());
  loop_.schedule(turn_end_);
}

void HealthChecker::at_turn_end(io::TurnEnd& hook) {
  HealthChecker& self = *hook.owner<HealthChecker>();
  const bool first_round = self.awaited_ && self.unasked_ == 0;
  if (first_round) self.awaited_ = false;
  const HostVector failed = std::exchange(self.failed_, {});
  if (std::exchange(self.changed_, false)) self.owner_.on_health_changed(failed);
  if (first_round) self.owner_.on_first_round();
}

Duration HealthChecker::interval(bool healthy, Change change) {
  const bool edge = change == Change::pending;
  Duration base{};
  if (!had_traffic_())
    base = healthy && !edge ? config_.no_traffic_healthy_interval : config_.no_traffic_interval;
  else if (healthy)
    base = edge ? config_.healthy_edge_interval : config_.interval;
  else
    base = edge ? config_.unhealthy_edge_interval : config_.unhealthy_interval;
  return with_jitter(base, config_.interval_jitter);
}

// Never zero, so that a failing socket is no busy loop.
Duration HealthChecker::with_jitter(Duration base, Duration jitter) {
  auto ms = [](Duration d) {
    return static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(d).count());
  };
  uint64_t sum = ms(base);
  const uint64_t share = config_.interval_jitter_percent * sum / 100;
  if (share > 0) sum += random_.below(share);
  if (ms(jitter) > 0) sum += random_.below(ms(jitter));
  return milliseconds(std::max<uint64_t>(sum, 1));
}

void HealthReporter::failed_by_response(const HostPtr& host) const {
  if (control_ == nullptr) return;
  control_->post([to = checker_, host] {
    if (auto checker = to.lock()) checker->failed_by_response(host);
  });
}

}  // namespace sluice::upstream
