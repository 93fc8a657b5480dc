#include "config/translate_cluster_lb.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include "config/any.h"
#include "config/convert.h"
#include "config/translate_metadata.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/load_balancing_policies/cluster_provided/v3/cluster_provided.pb.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb.h"
#include "envoy/extensions/load_balancing_policies/subset/v3/subset.pb.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb.h"
#include "google/protobuf/descriptor.h"

namespace sluice::config {

namespace proto = envoy::config::cluster::v3;
namespace policies = envoy::extensions::load_balancing_policies;
using model::ClusterType;
using model::LbPolicy;
using model::LoadBalancing;

namespace {

bool is_prime(uint64_t n) {
  for (uint64_t d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return n > 1;
}

// Both RingHash.HashFunction and Cluster.RingHashLbConfig.HashFunction, by name.
template <typename Ring>
Status add_ring(const Ring& in, bool murmur_hash_2, const FieldPath& path, LoadBalancing& out) {
  out.policy = LbPolicy::ring_hash;
  auto& ring = out.ring;
  ring.minimum_size = value_or(in.has_minimum_ring_size(), in.minimum_ring_size(), ring.minimum_size);
  ring.maximum_size = value_or(in.has_maximum_ring_size(), in.maximum_ring_size(), ring.maximum_size);
  ring.murmur_hash_2 = murmur_hash_2;
  if (ring.minimum_size > ring.maximum_size)
    return refuse(path, "ring hash: minimum_ring_size (" + std::to_string(ring.minimum_size) +
                            ") > maximum_ring_size (" + std::to_string(ring.maximum_size) + ")");
  return {};
}

// Both Maglev and Cluster.MaglevLbConfig.
template <typename Maglev>
Status add_maglev(const Maglev& in, const FieldPath& path, LoadBalancing& out) {
  out.policy = LbPolicy::maglev;
  out.maglev_table_size = value_or(in.has_table_size(), in.table_size(), out.maglev_table_size);
  if (!is_prime(out.maglev_table_size))
    return refuse(path.field("table_size"), "The table size of maglev must be prime number");
  return {};
}

// Both SlowStartConfig.
template <typename In>
Status add_slow_start(const In& in, const FieldPath& path, LoadBalancing& out) {
  out.slow_start.window = to_duration(in.slow_start_window());
  if (in.has_min_weight_percent()) out.slow_start.minimum = in.min_weight_percent().value() / 100;
  if (!in.has_aggression()) return {};
  out.slow_start.aggression = in.aggression().default_value();
  // Envoy takes any other for 1 while it runs, since it may come from the runtime.
  if (!(out.slow_start.aggression > 0) || std::isinf(out.slow_start.aggression))
    return refuse(path.field("aggression").field("default_value"), "must be a number above 0");
  return {};
}

// Both LeastRequest and Cluster.LeastRequestLbConfig.
template <typename LeastRequest>
Status add_least_request(const LeastRequest& in, const FieldPath& path, LoadBalancing& out) {
  out.policy = LbPolicy::least_request;
  out.choices = value_or(in.has_choice_count(), in.choice_count(), out.choices);
  SLUICE_TRY(add_slow_start(in.slow_start_config(), path.field("slow_start_config"), out));
  if (in.has_active_request_bias()) out.active_request_bias = in.active_request_bias().default_value();
  // Envoy takes a negative bias for 0 while it runs, since it may come from the runtime.
  if (!(out.active_request_bias >= 0) || std::isinf(out.active_request_bias))
    return refuse(path.field("active_request_bias").field("default_value"),
                  "must be a number of at least 0; 0 leaves the weights alone");
  return {};
}

// Both ConsistentHashingLbConfig.
template <typename Hashing>
void add_hashing(const Hashing& in, LoadBalancing& out) {
  out.use_hostname_for_hashing = in.use_hostname_for_hashing();
  out.hash_balance_factor = in.hash_balance_factor().value();
}

// Both Subset.LbSubsetSelector and Cluster.LbSubsetConfig.LbSubsetSelector; their enums have the same numbers.
template <typename In>
Result<model::SubsetConfig::Selector> to_selector(const In& in, const FieldPath& path) {
  using Fallback = model::SubsetConfig::Fallback;
  static constexpr Fallback kFallbacks[] = {Fallback::unset, Fallback::none, Fallback::any,
                                            Fallback::default_subset, Fallback::keys};
  auto sorted = [](const auto& keys) {
    const std::set<std::string> unique(keys.begin(), keys.end());
    return std::vector(unique.begin(), unique.end());
  };
  model::SubsetConfig::Selector out;
  out.keys = sorted(in.keys());
  out.fallback = kFallbacks[in.fallback_policy()];
  out.fallback_keys = sorted(in.fallback_keys_subset());
  out.single_host = in.single_host_per_subset();
  const FieldPath at = path.field("fallback_keys_subset");
  if (out.fallback != Fallback::keys) {
    if (!out.fallback_keys.empty())
      return refuse(at, "fallback_keys_subset can be set only for KEYS_SUBSET fallback_policy");
    return out;
  }
  if (out.fallback_keys.empty()) return refuse(at, "fallback_keys_subset cannot be empty");
  if (!std::ranges::includes(out.keys, out.fallback_keys))
    return refuse(at, "fallback_keys_subset must be a subset of selector keys");
  if (out.keys.size() == out.fallback_keys.size())
    return refuse(at, "fallback_keys_subset cannot be equal to keys");
  return out;
}

// Both Subset and Cluster.LbSubsetConfig.
template <typename In>
Status add_subsets(const In& in, const FieldPath& path, LoadBalancing& out) {
  using Fallback = model::SubsetConfig::Fallback;
  static constexpr Fallback kFallbacks[] = {Fallback::none, Fallback::any, Fallback::default_subset};
  auto made = std::make_shared<model::SubsetConfig>();
  const FieldPath list = path.field("subset_selectors");
  for (int i = 0; i < in.subset_selectors_size(); ++i) {
    if (in.subset_selectors(i).keys().empty()) continue;  // makes no subset, in Envoy too
    SLUICE_ASSIGN(auto selector, to_selector(in.subset_selectors(i), list.item(static_cast<size_t>(i))));
    made->selectors.push_back(std::move(selector));
  }
  made->fallback = kFallbacks[in.fallback_policy()];
  made->default_subset = to_criteria(in.default_subset());
  made->locality_weight_aware = in.locality_weight_aware();
  made->scale_locality_weight = in.scale_locality_weight();
  made->panic_mode_any = in.panic_mode_any();
  made->list_as_any = in.list_as_any();
  made->fallback_list = in.metadata_fallback_policy() == In::FALLBACK_LIST;
  if constexpr (requires { in.allow_redundant_keys(); }) {
    made->allow_redundant_keys = in.allow_redundant_keys();
    if (made->allow_redundant_keys)
      std::ranges::stable_sort(made->selectors, std::greater(), [](const auto& s) { return s.keys.size(); });
  }
  out.subsets = std::move(made);
  return {};
}

// Both ZoneAwareLbConfig; the older one forces nothing.
template <typename In>
void add_zones(const In& in, LoadBalancing& out) {
  out.fail_traffic_on_panic = in.fail_traffic_on_panic();
  if (in.has_routing_enabled())
    out.zones.enabled_percent = static_cast<uint32_t>(std::lround(in.routing_enabled().value()));
  if (in.has_min_cluster_size()) out.zones.min_cluster_size = in.min_cluster_size().value();
  if constexpr (requires { in.locality_basis(); }) {
    if (in.force_locality_direct_routing()) out.zones.force_local_min_size = 1;
    if (in.has_force_local_zone())
      out.zones.force_local_min_size =
          value_or(in.force_local_zone().has_min_size(), in.force_local_zone().min_size(), 1u);
    out.zones.by_weight = in.locality_basis() == In::HEALTHY_HOSTS_WEIGHT;
  }
}

void add_locality(const policies::common::v3::LocalityLbConfig& in, LoadBalancing& out) {
  out.locality_weighted = in.has_locality_weighted_lb_config();
  add_zones(in.zone_aware_lb_config(), out);
}

template <typename T>
const T* as(const google::protobuf::Message& message) {
  return message.GetDescriptor() == T::descriptor() ? static_cast<const T*>(&message) : nullptr;
}

// The first policy of the list that is known, as the API says.
Status add_typed(const proto::LoadBalancingPolicy& in, const FieldPath& path, LoadBalancing& out) {
  const FieldPath list = path.field("policies");
  if (in.policies().empty()) return refuse(list, "value must contain at least 1 item(s)");
  const FieldPath first = list.item(0);
  const FieldPath extension = first.field("typed_extension_config");
  const FieldPath at = extension.field("typed_config");
  SLUICE_ASSIGN(const auto message, unpack(in.policies(0).typed_extension_config().typed_config(), at));
  if (const auto* rr = as<policies::round_robin::v3::RoundRobin>(*message)) {
    out.policy = LbPolicy::round_robin;
    SLUICE_TRY(add_slow_start(rr->slow_start_config(), at.field("slow_start_config"), out));
    add_locality(rr->locality_lb_config(), out);
  } else if (const auto* random = as<policies::random::v3::Random>(*message)) {
    out.policy = LbPolicy::random;
    add_locality(random->locality_lb_config(), out);
  } else if (as<policies::cluster_provided::v3::ClusterProvided>(*message)) {
    out.policy = LbPolicy::cluster_provided;
  } else if (const auto* least = as<policies::least_request::v3::LeastRequest>(*message)) {
    SLUICE_TRY(add_least_request(*least, at, out));
    add_locality(least->locality_lb_config(), out);
    out.full_scan = least->selection_method() == policies::least_request::v3::LeastRequest::FULL_SCAN;
  } else if (const auto* ring = as<policies::ring_hash::v3::RingHash>(*message)) {
    using policies::ring_hash::v3::RingHash;
    SLUICE_TRY(add_ring(*ring, ring->hash_function() == RingHash::MURMUR_HASH_2, at, out));
    out.locality_weighted = ring->has_locality_weighted_lb_config();
    // The older places of these two count only without the newer message.
    out.use_hostname_for_hashing = ring->use_hostname_for_hashing();
    out.hash_balance_factor = ring->hash_balance_factor().value();
    if (ring->has_consistent_hashing_lb_config()) add_hashing(ring->consistent_hashing_lb_config(), out);
  } else if (const auto* maglev = as<policies::maglev::v3::Maglev>(*message)) {
    SLUICE_TRY(add_maglev(*maglev, at, out));
    out.locality_weighted = maglev->has_locality_weighted_lb_config();
    add_hashing(maglev->consistent_hashing_lb_config(), out);
  } else if (const auto* wrr = as<policies::wrr_locality::v3::WrrLocality>(*message)) {
    SLUICE_TRY(add_typed(wrr->endpoint_picking_policy(), at.field("endpoint_picking_policy"), out));
    if (out.policy == LbPolicy::cluster_provided)
      return refuse(at.field("endpoint_picking_policy"),
                    "a cluster that provides its own hosts has no localities");
    if (out.subsets)
      return refuse(at.field("endpoint_picking_policy"),
                    "put WrrLocality into the subset_lb_policy of Subset, with locality_weight_aware");
    out.locality_weighted = true;
  } else if (const auto* subset = as<policies::subset::v3::Subset>(*message)) {
    const FieldPath inner = at.field("subset_lb_policy");
    SLUICE_TRY(add_typed(subset->subset_lb_policy(), inner, out));
    if (out.subsets || out.policy == LbPolicy::cluster_provided)
      return refuse(inner, "Subset and ClusterProvided do not choose within a subset; use one of the others");
    SLUICE_TRY(add_subsets(*subset, at, out));
  } else {
    return refuse(at, message->GetDescriptor()->full_name() +
                          " is not a load balancer that this version of Sluice has; it has RoundRobin, "
                          "LeastRequest, Random, RingHash, Maglev, Subset, WrrLocality and ClusterProvided");
  }
  return {};
}

Status add_enum(const proto::Cluster& in, const FieldPath& path, LoadBalancing& out) {
  switch (in.lb_policy()) {
    case proto::Cluster::ROUND_ROBIN:
      out.policy = LbPolicy::round_robin;
      SLUICE_TRY(add_slow_start(in.round_robin_lb_config().slow_start_config(),
                                path.field("round_robin_lb_config").field("slow_start_config"), out));
      break;
    case proto::Cluster::LEAST_REQUEST:
      SLUICE_TRY(add_least_request(in.least_request_lb_config(), path.field("least_request_lb_config"), out));
      break;
    case proto::Cluster::RANDOM:
      out.policy = LbPolicy::random;
      break;
    case proto::Cluster::RING_HASH: {
      const auto& ring = in.ring_hash_lb_config();
      SLUICE_TRY(add_ring(ring, ring.hash_function() == proto::Cluster::RingHashLbConfig::MURMUR_HASH_2,
                          path.field("ring_hash_lb_config"), out));
      break;
    }
    case proto::Cluster::MAGLEV:
      SLUICE_TRY(add_maglev(in.maglev_lb_config(), path.field("maglev_lb_config"), out));
      break;
    case proto::Cluster::CLUSTER_PROVIDED:
      out.policy = LbPolicy::cluster_provided;
      break;
    case proto::Cluster::LOAD_BALANCING_POLICY_CONFIG:
      if (!in.has_load_balancing_policy())
        return refuse(path.field("load_balancing_policy"),
                      "is missing: lb_policy is LOAD_BALANCING_POLICY_CONFIG");
      break;
    default:
      return refuse(path.field("lb_policy"),
                    proto::Cluster::LbPolicy_Name(in.lb_policy()) + " is not a load balancing policy");
  }
  const auto& common = in.common_lb_config();
  out.locality_weighted = common.has_locality_weighted_lb_config();
  add_zones(common.zone_aware_lb_config(), out);
  add_hashing(common.consistent_hashing_lb_config(), out);
  return {};
}

Status add_legacy_subsets(const proto::Cluster& in, const FieldPath& path, LoadBalancing& out) {
  if (!in.has_lb_subset_config()) return {};
  const FieldPath at = path.field("lb_subset_config");
  if (in.has_load_balancing_policy())
    return refuse(at, "cluster: load_balancing_policy cannot be combined with lb_subset_config");
  if (in.lb_subset_config().subset_selectors().empty()) {
    if (in.lb_subset_config().ByteSizeLong() == 0) return {};
    return refuse(at, "makes no subsets without subset_selectors: add them, or leave it out");
  }
  if (out.policy == LbPolicy::cluster_provided)
    return refuse(at, "cluster: LB policy CLUSTER_PROVIDED cannot be combined with lb_subset_config");
  if (in.lb_subset_config().locality_weight_aware() && !out.locality_weighted)
    return refuse(
        at.field("locality_weight_aware"),
        "Locality weight aware subset LB requires that a locality_weighted_lb_config be set in " + in.name());
  return add_subsets(in.lb_subset_config(), at, out);
}

}  // namespace

Status add_load_balancing(const proto::Cluster& in, const FieldPath& path, model::Cluster& out) {
  const FieldPath at = path.field("lb_policy");
  SLUICE_TRY(add_enum(in, path, out.lb));
  // Envoy asks for the enum whatever load_balancing_policy says.
  if (out.type == ClusterType::original_dst && in.lb_policy() != proto::Cluster::CLUSTER_PROVIDED)
    return refuse(at, "LB policy " + proto::Cluster::LbPolicy_Name(in.lb_policy()) +
                          " is not valid for Cluster type ORIGINAL_DST. Only 'CLUSTER_PROVIDED' is allowed "
                          "with cluster type "
                          "'ORIGINAL_DST'");
  if (in.common_lb_config().consistent_hashing_lb_config().use_hostname_for_hashing() &&
      out.type != ClusterType::strict_dns)
    return refuse(
        path.field("common_lb_config")
            .field("consistent_hashing_lb_config")
            .field("use_hostname_for_hashing"),
        "Cannot use hostname for consistent hashing loadbalancing unless the cluster's type is STRICT_DNS; "
        "or set it in load_balancing_policy");
  SLUICE_TRY(add_legacy_subsets(in, path, out.lb));
  if (in.has_load_balancing_policy()) {
    out.lb = {};  // it alone counts
    SLUICE_TRY(add_typed(in.load_balancing_policy(), path.field("load_balancing_policy"), out.lb));
  }
  if (out.lb.policy == LbPolicy::cluster_provided && out.type != ClusterType::original_dst)
    return refuse(at, "cluster provided LB specified but cluster '" + in.name() +
                          "' did not provide one: only clusters of type ORIGINAL_DST do");
  if (in.common_lb_config().has_healthy_panic_threshold())
    out.healthy_panic_threshold =
        static_cast<uint32_t>(std::lround(in.common_lb_config().healthy_panic_threshold().value()));
  out.update_merge_window = to_milliseconds(in.common_lb_config().update_merge_window());
  return {};
}

Status check_weights(const model::Cluster& cluster, const FieldPath& path) {
  if (cluster.lb.policy != LbPolicy::ring_hash && cluster.lb.policy != LbPolicy::maglev) return {};
  constexpr uint64_t kMax = std::numeric_limits<uint32_t>::max();
  std::map<uint32_t, uint64_t> of_priority;
  for (const model::Locality& l : cluster.localities) {
    uint64_t hosts = 0;
    for (const model::Endpoint& e : l.endpoints) hosts += e.weight;
    if (hosts > kMax)
      return refuse(path,
                    "The sum of weights of all upstream hosts in a locality exceeds " + std::to_string(kMax));
    if ((of_priority[l.priority] += l.weight) > kMax)
      return refuse(
          path, "The sum of weights of all localities at the same priority exceeds " + std::to_string(kMax));
  }
  return {};
}

}  // namespace sluice::config
