#include "proxy/upstream/dns_cluster.h"

#include <algorithm>
#include <utility>

#include "core/log.h"

namespace sluice::upstream {
namespace {

net::DnsFamily to_net(model::DnsFamily f) {
  switch (f) {
    case model::DnsFamily::v4_only:
      return net::DnsFamily::v4_only;
    case model::DnsFamily::v6_only:
      return net::DnsFamily::v6_only;
    case model::DnsFamily::v4_preferred:
      return net::DnsFamily::v4_preferred;
    case model::DnsFamily::all:
      return net::DnsFamily::all;
    case model::DnsFamily::auto_:
      break;
  }
  return net::DnsFamily::auto_;
}

}  // namespace

// One name of the cluster.
struct DnsCluster::Target {
  Target(DnsCluster& c, const model::Endpoint& e, uint32_t p, std::shared_ptr<const HostLocality> l)
      : cluster(c), endpoint(e), priority(p), locality(std::move(l)), timer(c.loop_.timers(), &due, this) {}
  static void due(io::Timer& timer) {
    Target& t = *timer.owner<Target>();
    t.cluster.resolve(t);
  }
  Host::Description description(const Address& address) const {
    return {.address = address,
            .hostname = endpoint.hostname.empty() ? endpoint.dns_name : endpoint.hostname,
            .weight = endpoint.weight,
            .priority = priority,
            .health = endpoint.health,
            .locality = locality,
            .canary = endpoint.canary,
            .hash_key = endpoint.hash_key,
            .lb_metadata = endpoint.lb_metadata,
            .transport_metadata = endpoint.transport_metadata,
            .health_address = health_address(endpoint, address),
            .health_hostname = endpoint.health_hostname,
            .health_check_disabled = endpoint.health_check_disabled};
  }

  DnsCluster& cluster;
  const model::Endpoint& endpoint;   // of the cluster's configuration
  const uint32_t priority;
  std::shared_ptr<const HostLocality> locality;
  HostVector hosts;
  bool tried = false;
  bool failing = false;
  Duration backoff{};                // the next failure waits up to this
  std::unique_ptr<net::DnsQuery> query;
  io::Timer timer;
};

DnsCluster::DnsCluster(std::shared_ptr<const model::Cluster> config, unsigned slots,
                       net::DnsResolver& resolver, io::Loop& loop, Random& random, ClusterUpdateStats& stats,
                       OnHosts on_hosts, OnTried on_tried)
    : config_(std::move(config)),
      slots_(slots),
      resolver_(resolver),
      loop_(loop),
      random_(random),
      stats_(stats),
      on_hosts_(std::move(on_hosts)),
      on_tried_(std::move(on_tried)) {
  for (const model::Locality& l : config_->localities) {
    auto locality =
        std::make_shared<const HostLocality>(HostLocality{l.region, l.zone, l.sub_zone, l.weight});
    // Envoy: a LOGICAL_DNS host is always in priority 0.
    uint32_t priority = config_->type == model::ClusterType::logical_dns ? 0 : l.priority;
    for (const model::Endpoint& e : l.endpoints) {
      auto target = std::make_unique<Target>(*this, e, priority, locality);
      if (e.address.valid())
        fixed_.push_back(std::make_shared<Host>(target->description(e.address), slots_));
      else
        targets_.push_back(std::move(target));
    }
  }
}

DnsCluster::~DnsCluster() = default;

void DnsCluster::start() {
  if (!fixed_.empty()) publish();
  untried_ = targets_.size();
  if (untried_ == 0) return on_tried_();
  for (auto& t : targets_) resolve(*t);
}

void DnsCluster::resolve(Target& target) {
  stats_.update_attempt.add();
  target.query = resolver_.resolve(target.endpoint.dns_name, to_net(config_->dns_family),
                                   [this, &target](auto answer) { answered(target, std::move(answer)); });
}

void DnsCluster::answered(Target& target, Result<std::vector<net::DnsAddress>> answer) {
  target.query.reset();
  const bool logical = config_->type == model::ClusterType::logical_dns;
  Duration next = config_->dns_refresh_rate;
  if (answer.ok() && !(logical && answer->empty())) {
    stats_.update_success.add();
    target.backoff = {};
    if (std::exchange(target.failing, false)) {
      SLUICE_LOG(dns, info, "cluster {}: {} resolves again", config_->name, target.endpoint.dns_name);
    }
    if (update_hosts(target, *answer))
      publish();
    else
      stats_.update_no_rebuild.add();
    if (config_->respect_dns_ttl && !answer->empty()) {
      auto shortest = std::ranges::min_element(*answer, {}, &net::DnsAddress::ttl)->ttl;
      if (shortest.count() > 0) next = shortest;
    }
    if (config_->dns_jitter.count() > 0) {
      next +=
          Duration(static_cast<int64_t>(random_.below(static_cast<uint64_t>(config_->dns_jitter.count()))));
    }
  } else {
    stats_.update_failure.add();
    next = after_failure(target);
    // Once until it succeeds again: a name may be out for hours.
    if (!std::exchange(target.failing, true)) {
      SLUICE_LOG(dns, warn, "cluster {}: {}; {} host(s) kept, asking again until there is an answer",
                 config_->name,
                 answer.ok() ? "no address for " + target.endpoint.dns_name : answer.error().message,
                 target.hosts.size());
    }
  }
  target.timer.arm(loop_.now() + std::max<Duration>(next, std::chrono::milliseconds(1)));
  if (!std::exchange(target.tried, true) && --untried_ == 0) on_tried_();
}

// Without dns_failure_refresh_rate: the ordinary rate. With it: somewhere up to base, 2*base, 4*base ... max.
Duration DnsCluster::after_failure(Target& target) {
  if (config_->dns_failure_refresh_base.count() <= 0) return config_->dns_refresh_rate;
  Duration base = config_->dns_failure_refresh_base;
  Duration longest =
      config_->dns_failure_refresh_max.count() > 0 ? config_->dns_failure_refresh_max : base * 10;
  if (target.backoff.count() == 0) target.backoff = base;
  Duration wait(static_cast<int64_t>(random_.below(static_cast<uint64_t>(target.backoff.count()))));
  target.backoff = std::min(longest, target.backoff * 2);
  return wait;
}

// Hosts that stay keep their identity and their counters.
bool DnsCluster::update_hosts(Target& target, const std::vector<net::DnsAddress>& addresses) {
  HostVector now;
  const size_t wanted = config_->type == model::ClusterType::logical_dns ? 1 : addresses.size();
  for (size_t i = 0; i < wanted; ++i) {
    Address address(addresses[i].ip, target.endpoint.dns_port);
    auto old = std::ranges::find_if(target.hosts, [&](const HostPtr& h) { return h->address() == address; });
    now.push_back(old != target.hosts.end() ? *old
                                            : std::make_shared<Host>(target.description(address), slots_));
  }
  // The order in which a server lists addresses says nothing: it is no change.
  bool changed = now.size() != target.hosts.size() || std::ranges::any_of(now, [&](const HostPtr& h) {
                   return std::ranges::find(target.hosts, h) == target.hosts.end();
                 });
  if (changed) target.hosts = std::move(now);
  return changed;
}

void DnsCluster::publish() {
  HostVector all = fixed_;
  for (const auto& t : targets_) all.insert(all.end(), t->hosts.begin(), t->hosts.end());
  on_hosts_(all);
}

}  // namespace sluice::upstream
