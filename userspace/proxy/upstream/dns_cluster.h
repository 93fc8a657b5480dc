#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"
#include "io/loop.h"
#include "model/cluster.h"
#include "net/dns.h"
#include "proxy/upstream/cluster_stats.h"
#include "proxy/upstream/host.h"

namespace sluice::upstream {

// Keeps the hosts of one STRICT_DNS or LOGICAL_DNS cluster current. Control thread.
// STRICT_DNS: every address is a host. LOGICAL_DNS: the first address is; connections to earlier ones stay.
// A name that cannot be resolved keeps its hosts; a STRICT_DNS name that does not exist has none (Envoy's rules).
class DnsCluster {
 public:
  using OnHosts = std::function<void(const HostVector& hosts)>;  // all hosts, whenever they have changed
  using OnTried = std::function<void()>;  // every name was asked for once

  DnsCluster(std::shared_ptr<const model::Cluster> config, unsigned slots, net::DnsResolver& resolver,
             io::Loop& loop, Random& random, ClusterUpdateStats& stats, OnHosts on_hosts, OnTried on_tried);
  ~DnsCluster();

  void start();

 private:
  struct Target;
  void resolve(Target& target);
  void answered(Target& target, Result<std::vector<net::DnsAddress>> answer);
  bool update_hosts(Target& target, const std::vector<net::DnsAddress>& addresses);
  Duration after_failure(Target& target);
  void publish();

  std::shared_ptr<const model::Cluster> config_;
  const unsigned slots_;
  net::DnsResolver& resolver_;
  io::Loop& loop_;
  Random& random_;
  ClusterUpdateStats& stats_;
  OnHosts on_hosts_;
  OnTried on_tried_;
  size_t untried_ = 0;
  std::vector<std::unique_ptr<Target>> targets_;
  HostVector fixed_;  // endpoints given by address
};

}  // namespace sluice::upstream
