#include <utility>

#include "config/convert.h"
#include "config/factory_context.h"
#include "config/translate.h"
#include "config/translate_cluster_lb.h"
#include "config/translate_config_source.h"
#include "config/translate_dns.h"
#include "config/translate_health_check.h"
#include "config/translate_http_upstream.h"
#include "config/translate_metadata.h"
#include "config/translate_outlier.h"
#include "config/translate_transport.h"
#include "envoy/config/cluster/v3/circuit_breaker.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "extensions/common/proto_matchers.h"

namespace sluice::config {

namespace proto = envoy::config::cluster::v3;
namespace endpoint = envoy::config::endpoint::v3;
using model::ClusterType;

namespace {

bool is_dns(ClusterType type) {
  return type == ClusterType::strict_dns || type == ClusterType::logical_dns;
}

Status add_eds(const proto::Cluster& in, const FieldPath& path, model::Cluster& out) {
  const FieldPath at = path.field("eds_cluster_config");
  if (!in.eds_cluster_config().has_eds_config())
    return refuse(at.field("eds_config"), "cannot create an EDS cluster without an EDS config");
  SLUICE_ASSIGN(out.eds_source,
                to_config_source(in.eds_cluster_config().eds_config(), at.field("eds_config")));
  out.eds_service_name = in.eds_cluster_config().service_name();
  if (out.eds_service_name.empty()) out.eds_service_name = in.name();
  return {};
}

Status add_type(const proto::Cluster& in, const ClusterDefaults& defaults, const FieldPath& path,
                model::Cluster& out) {
  if (in.has_cluster_type()) return add_dns_cluster_type(in, defaults, path, out);
  switch (in.type()) {
    case proto::Cluster::STATIC:
      out.type = ClusterType::static_;
      break;
    case proto::Cluster::STRICT_DNS:
      out.type = ClusterType::strict_dns;
      break;
    case proto::Cluster::LOGICAL_DNS:
      out.type = ClusterType::logical_dns;
      break;
    case proto::Cluster::ORIGINAL_DST:
      out.type = ClusterType::original_dst;
      break;
    case proto::Cluster::EDS:
      out.type = ClusterType::eds;
      SLUICE_TRY(add_eds(in, path, out));
      break;
    default:
      return refuse(path.field("type"),
                    proto::Cluster::DiscoveryType_Name(in.type()) +
                        " is not supported by this version of Sluice; it has STATIC, STRICT_DNS, "
                        "LOGICAL_DNS, ORIGINAL_DST and EDS");
  }
  return add_dns(in, defaults, path, out);
}

Result<model::HealthStatus> to_health(const endpoint::LbEndpoint& in, const FieldPath& path) {
  using envoy::config::core::v3::HealthStatus;
  switch (in.health_status()) {
    case HealthStatus::UNKNOWN:
    case HealthStatus::HEALTHY:
      return model::HealthStatus::healthy;
    case HealthStatus::DEGRADED:
      return model::HealthStatus::degraded;
    case HealthStatus::UNHEALTHY:
    case HealthStatus::DRAINING:
    case HealthStatus::TIMEOUT:
      return model::HealthStatus::unhealthy;
    default:
      return refuse(path.field("health_status"),
                    "a value of " + std::to_string(in.health_status()) + " has no meaning here");
  }
}

Result<model::Endpoint> to_endpoint(const endpoint::LbEndpoint& in, ClusterType type, const FieldPath& path) {
  model::Endpoint out;
  const FieldPath inner = path.field("endpoint");
  const FieldPath at = inner.field("address");
  if (!in.endpoint().has_address()) return refuse(at, "Address must be set: this is where connections go");
  const auto& address = in.endpoint().address();
  if (is_dns(type)) {
    if (!address.has_socket_address())
      return refuse(at, "a DNS cluster's endpoint is a socket_address with a name to resolve");
    if (address.socket_address().protocol() != envoy::config::core::v3::SocketAddress::TCP)
      return refuse(at, "UDP is not supported by this version of Sluice; only TCP is");
    out.dns_name = address.socket_address().address();
    out.dns_port = static_cast<uint16_t>(address.socket_address().port_value());
  } else {
    SLUICE_ASSIGN(out.address,
                  to_address(address, at, "Consider setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'"));
  }
  out.hostname = in.endpoint().hostname();
  SLUICE_TRY(add_endpoint_health(in.endpoint(), inner, out));
  out.weight = value_or(in.has_load_balancing_weight(), in.load_balancing_weight(), out.weight);
  SLUICE_ASSIGN(out.health, to_health(in, path));
  if (in.has_metadata()) add_metadata(in.metadata(), out);
  return out;
}

Status add_drops(const endpoint::ClusterLoadAssignment& assignment, const FieldPath& policy,
                 std::optional<model::Fraction>& out) {
  const auto& drops = assignment.policy().drop_overloads();
  if (drops.size() > 1)
    return refuse(policy.field("drop_overloads"), "Cluster drop_overloads config has " +
                                                      std::to_string(drops.size()) +
                                                      " categories. Envoy only support one.");
  if (drops.empty() || drops[0].drop_percentage().numerator() == 0) return {};
  out = extensions::to_fraction(drops[0].drop_percentage());
  if (out->numerator > out->denominator)
    return refuse(policy.field("drop_overloads").item(0).field("drop_percentage"),
                  "Cluster drop_overloads config is invalid. drop_ratio is above 1 (Numerator " +
                      std::to_string(out->numerator) + " / Denominator " + std::to_string(out->denominator) +
                      "). The valid range is 0~1.");
  return {};
}

Status add_policy(const endpoint::ClusterLoadAssignment& assignment, const FieldPath& at,
                  model::Cluster& out) {
  const FieldPath policy = at.field("policy");
  if (assignment.policy().has_endpoint_stale_after())
    return refuse(policy.field("endpoint_stale_after"), "only what EDS sends can become stale; leave it out");
  if (assignment.policy().has_overprovisioning_factor())
    out.overprovisioning_factor = assignment.policy().overprovisioning_factor().value();
  out.weighted_priority_health = assignment.policy().weighted_priority_health();
  return add_drops(assignment, policy, out.drop_overload);
}

Result<std::vector<model::Locality>> to_localities(const endpoint::ClusterLoadAssignment& in,
                                                   ClusterType type, const FieldPath& path) {
  std::vector<model::Locality> out;
  const FieldPath list = path.field("endpoints");
  for (int i = 0; i < in.endpoints_size(); ++i) {
    const auto& locality = in.endpoints(i);
    const FieldPath item = list.item(static_cast<size_t>(i));
    const FieldPath endpoints = item.field("lb_endpoints");
    model::Locality& made = out.emplace_back();
    made.region = locality.locality().region();
    made.zone = locality.locality().zone();
    made.sub_zone = locality.locality().sub_zone();
    made.priority = locality.priority();
    made.weight = locality.load_balancing_weight().value();
    made.endpoints.reserve(static_cast<size_t>(locality.lb_endpoints_size()));
    for (int k = 0; k < locality.lb_endpoints_size(); ++k) {
      SLUICE_ASSIGN(auto one,
                    to_endpoint(locality.lb_endpoints(k), type, endpoints.item(static_cast<size_t>(k))));
      made.endpoints.push_back(std::move(one));
    }
  }
  return out;
}

Status add_endpoints(const proto::Cluster& in, const FieldPath& path, model::Cluster& out) {
  const FieldPath at = path.field("load_assignment");
  if (out.type == ClusterType::original_dst && in.has_load_assignment())
    return refuse(at, "ORIGINAL_DST clusters must have no load assignment configured");
  if (out.type == ClusterType::eds && in.has_load_assignment())
    return refuse(at,
                  "an EDS cluster gets its endpoints from eds_cluster_config; leave this out, or use STATIC");
  if (in.has_eds_cluster_config() && out.type != ClusterType::eds)
    return refuse(path.field("eds_cluster_config"), "eds_cluster_config set in a non-EDS cluster");
  const auto& assignment = in.load_assignment();
  SLUICE_TRY(add_policy(assignment, at, out));
  SLUICE_ASSIGN(out.localities, to_localities(assignment, out.type, at));
  size_t total = 0;
  for (const auto& locality : out.localities) total += locality.endpoints.size();
  if (out.type == ClusterType::logical_dns && (out.localities.size() != 1 || total != 1))
    return refuse(
        at, "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint, not " +
                std::to_string(total) + "; use STRICT_DNS for several names");
  return {};
}

void add_circuit_breakers(const proto::Cluster& in, model::Cluster& out) {
  bool seen[2] = {};
  for (const auto& t : in.circuit_breakers().thresholds()) {
    const size_t priority = t.priority() == envoy::config::core::v3::HIGH ? 1 : 0;
    if (std::exchange(seen[priority], true)) continue;  // Envoy: the first entry of a priority counts
    model::CircuitBreaker& b = out.circuit_breaker[priority];
    b.max_connections = value_or(t.has_max_connections(), t.max_connections(), b.max_connections);
    b.max_pending_requests =
        value_or(t.has_max_pending_requests(), t.max_pending_requests(), b.max_pending_requests);
    b.max_requests = value_or(t.has_max_requests(), t.max_requests(), b.max_requests);
    b.max_retries = value_or(t.has_max_retries(), t.max_retries(), b.max_retries);
    b.max_connection_pools =
        value_or(t.has_max_connection_pools(), t.max_connection_pools(), b.max_connection_pools);
    b.track_remaining = t.track_remaining();
    if (t.has_retry_budget()) {
      model::CircuitBreaker::RetryBudget budget;
      if (t.retry_budget().has_budget_percent()) budget.percent = t.retry_budget().budget_percent().value();
      if (t.retry_budget().has_min_retry_concurrency())
        budget.min_concurrency = t.retry_budget().min_retry_concurrency().value();
      b.retry_budget = budget;
    }
  }
}

Status add_sockets(const proto::Cluster& in, const ClusterDefaults& defaults, const FieldPath& path,
                   model::Cluster& out) {
  if (in.has_upstream_bind_config()) {
    const auto& bind = in.upstream_bind_config();
    const FieldPath at = path.field("upstream_bind_config");
    if (bind.has_source_address()) {
      SLUICE_ASSIGN(out.bind_address, to_address(bind.source_address(), at.field("source_address")));
    }
    out.socket_options.freebind = bind.freebind().value();
    SLUICE_TRY(add_socket_options(bind.socket_options(), at.field("socket_options"), out.socket_options));
  } else {
    out.bind_address = defaults.bind_address;
    out.socket_options = defaults.socket_options;
  }
  if (in.upstream_connection_options().has_tcp_keepalive()) {
    const auto& k = in.upstream_connection_options().tcp_keepalive();
    out.socket_options.keep_alive = {.enabled = true,
                                     .probes = k.keepalive_probes().value(),
                                     .time_s = k.keepalive_time().value(),
                                     .interval_s = k.keepalive_interval().value()};
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const model::Cluster>> translate(const proto::Cluster& in,
                                                        const ClusterDefaults& defaults,
                                                        FactoryContext& context, const FieldPath& path) {
  auto out = std::make_shared<model::Cluster>();
  out->name = in.name();
  out->alt_stat_name = in.alt_stat_name();
  SLUICE_TRY(add_type(in, defaults, path, *out));
  SLUICE_TRY(add_load_balancing(in, path, *out));
  SLUICE_TRY(add_endpoints(in, path, *out));
  SLUICE_TRY(check_weights(*out, path.field("load_assignment")));
  add_circuit_breakers(in, *out);
  SLUICE_TRY(add_transport_sockets(in, context, path, *out));
  SLUICE_TRY(add_http_options(in, path, *out));
  SLUICE_TRY(add_sockets(in, defaults, path, *out));
  if (in.has_connect_timeout()) out->connect_timeout = to_duration(in.connect_timeout());
  out->buffer_limit = value_or(in.has_per_connection_buffer_limit_bytes(),
                               in.per_connection_buffer_limit_bytes(), out->buffer_limit);
  out->wait_for_warm_on_init = value_or(in.has_wait_for_warm_on_init(), in.wait_for_warm_on_init(), true);
  if (in.has_cleanup_interval()) out->cleanup_interval = to_duration(in.cleanup_interval());
  out->original_dst_port_override =
      static_cast<uint16_t>(in.original_dst_lb_config().upstream_port_override().value());
  if (in.has_outlier_detection()) {
    SLUICE_ASSIGN(out->outlier_detection,
                  to_outlier_detection(in.outlier_detection(), path.field("outlier_detection")));
  }
  SLUICE_TRY(add_health_check(in, defaults.logs, path, *out));
  out->needs = context.take_needs();
  out->hash = hash_of(in);
  return std::shared_ptr<const model::Cluster>(std::move(out));
}

Result<std::shared_ptr<const model::Assignment>> translate(const endpoint::ClusterLoadAssignment& in,
                                                           const FieldPath& path) {
  auto out = std::make_shared<model::Assignment>();
  const auto& policy = in.policy();
  const FieldPath at = path.field("policy");
  SLUICE_TRY(add_drops(in, at, out->drop_overload));
  if (policy.has_overprovisioning_factor())
    out->overprovisioning_factor = policy.overprovisioning_factor().value();
  out->weighted_priority_health = policy.weighted_priority_health();
  if (policy.has_endpoint_stale_after()) out->stale_after = to_milliseconds(policy.endpoint_stale_after());
  SLUICE_ASSIGN(out->localities, to_localities(in, ClusterType::eds, path));
  return std::shared_ptr<const model::Assignment>(std::move(out));
}

}  // namespace sluice::config
