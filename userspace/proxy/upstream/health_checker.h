#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/random.h"
#include "core/stats.h"
#include "io/loop.h"
#include "io/timers.h"
#include "proxy/health/probe.h"
#include "proxy/upstream/health_events.h"
#include "proxy/upstream/host.h"
#include "proxy/upstream/transports.h"

namespace sluice::upstream {

// "cluster.<name>.health_check.".
// https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats#health-check-statistics
struct HealthCheckStats {
  explicit HealthCheckStats(const stats::Scope& cluster);
  stats::Counter attempt, success, failure, passive_failure, network_failure;
  stats::Gauge healthy, degraded;
};

// Asks every host of one cluster again and again how it is, and keeps the flags of its HostMonitor. Control thread.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking
//
// The first answer of a host decides at once; later ones need healthy_threshold or unhealthy_threshold of their kind in
// a row, but a host that says itself that it is unwell is believed at once.
class HealthChecker {
 public:
  class Owner {
   public:
    // A host that has not failed (any more) has answered well.
    virtual void on_well(const HostPtr& host) = 0;
    // Flags have changed. At most once a turn, at its end. `failed`: hosts that have become unhealthy.
    virtual void on_health_changed(const HostVector& failed) = 0;
    // Every host that was there when await_first_round() was called has been asked once.
    virtual void on_first_round() = 0;

   protected:
    ~Owner() = default;
  };
  // `cluster` has a health check. `had_traffic`: any connection was made for the cluster.
  HealthChecker(io::Loop& loop, Random& random, std::shared_ptr<const model::Cluster> cluster,
                const stats::Scope& scope, std::function<bool()> had_traffic, Owner& owner);
  ~HealthChecker();
  HealthChecker(const HealthChecker&) = delete;

  // New hosts count as failed until they have been asked; `pending`: and do not count at all
  // (ignore_new_hosts_until_first_hc); `keep_flags`: new hosts are as well as their flags say.
  void set_hosts(const HostVector& hosts, bool pending, bool keep_flags);
  // on_first_round() follows when there is nobody (any more) to be asked for the first time, at the end of a turn.
  void await_first_round();
  // A response of the host said x-envoy-immediate-health-check-fail.
  void failed_by_response(const HostPtr& host);

 private:
  enum class Failure : uint8_t { active, passive, network, network_timeout };
  enum class Change : uint8_t { none, pending, done };
  class Session;

  static void at_turn_end(io::TurnEnd& hook);
  Duration interval(bool healthy, Change change);
  Duration with_jitter(Duration base, Duration jitter);
  void concluded(Session& s, Change change);
  void first_check_over();

  io::Loop& loop_;
  Random& random_;
  const std::shared_ptr<const model::Cluster> cluster_;
  const model::HealthCheck& config_;
  HealthCheckStats stats_;
  const std::function<bool()> had_traffic_;
  Owner& owner_;
  HealthEvents events_;
  health::ProbeContext probes_;
  const Transports transports_;
  std::unordered_map<const void*, std::unique_ptr<Session>> sessions_;  // by Host::identity()
  size_t unasked_ = 0;  // sessions that wait for their first answer
  bool awaited_ = false, changed_ = false;
  HostVector failed_;
  io::TurnEnd turn_end_;
};

// The workers' side.
class HealthReporter {
 public:
  HealthReporter() = default;  // nobody looks
  HealthReporter(io::Loop& control, std::weak_ptr<HealthChecker> to)
      : control_(&control), checker_(std::move(to)) {}
  void failed_by_response(const HostPtr& host) const;

 private:
  io::Loop* control_ = nullptr;
  std::weak_ptr<HealthChecker> checker_;
};

}  // namespace sluice::upstream
