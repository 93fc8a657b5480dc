#include "config/translate_dns.h"

#include "config/any.h"
#include "config/convert.h"
#include "envoy/extensions/clusters/dns/v3/dns_cluster.pb.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb.h"
#include "google/protobuf/descriptor.h"

namespace sluice::config {

namespace core = envoy::config::core::v3;
namespace proto = envoy::config::cluster::v3;
using envoy::extensions::clusters::dns::v3::DnsCluster;
using envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;

namespace {

// Where to ask, and how; the same values in every form the API has for them, but for the last.
struct Resolver {
  bool use_tcp = false, no_search = false;
  std::vector<Address> servers;
  uint32_t udp_max_queries = 0;
};

using AddressList = google::protobuf::RepeatedPtrField<core::Address>;
Result<std::vector<Address>> to_servers(const AddressList& list, const FieldPath& path) {
  std::vector<Address> out;
  for (int i = 0; i < list.size(); ++i) {
    const FieldPath at = path.item(static_cast<size_t>(i));
    SLUICE_ASSIGN(const Address server, to_address(list[i], at, "A DNS server is named by its address"));
    if (!server.is_ip()) return refuse(at, "a DNS server needs an IP address and a port");
    out.push_back(server.port() != 0 ? server : server.with_port(53));
  }
  return out;
}

Result<Resolver> from_resolution_config(const core::DnsResolutionConfig& in, const FieldPath& path) {
  Resolver out;
  out.use_tcp = in.dns_resolver_options().use_tcp_for_dns_lookups();
  out.no_search = in.dns_resolver_options().no_default_search_domain();
  SLUICE_ASSIGN(out.servers, to_servers(in.resolvers(), path.field("resolvers")));
  return out;
}

Result<Resolver> from_typed_config(const core::TypedExtensionConfig& in, const FieldPath& path) {
  const FieldPath at = path.field("typed_config");
  SLUICE_ASSIGN(const auto message, unpack(in.typed_config(), at));
  if (message->GetDescriptor() != CaresDnsResolverConfig::descriptor())
    return refuse(at, message->GetDescriptor()->full_name() +
                          " is not a DNS resolver that this version of Sluice has; use " +
                          CaresDnsResolverConfig::descriptor()->full_name());
  const auto& cares = static_cast<const CaresDnsResolverConfig&>(*message);
  Resolver out;
  out.use_tcp = cares.dns_resolver_options().use_tcp_for_dns_lookups();
  out.no_search = cares.dns_resolver_options().no_default_search_domain();
  SLUICE_ASSIGN(out.servers, to_servers(cares.resolvers(), at.field("resolvers")));
  out.udp_max_queries = cares.udp_max_queries().value();
  return out;
}

// Envoy's order: the typed form, else the untyped one. Nothing: neither is set.
template <typename Holder>
Result<std::optional<Resolver>> resolver_of(const Holder& in, const FieldPath& path) {
  if (in.has_typed_dns_resolver_config()) {
    SLUICE_ASSIGN(Resolver out,
                  from_typed_config(in.typed_dns_resolver_config(), path.field("typed_dns_resolver_config")));
    return std::optional(std::move(out));
  }
  if (in.has_dns_resolution_config()) {
    SLUICE_ASSIGN(Resolver out,
                  from_resolution_config(in.dns_resolution_config(), path.field("dns_resolution_config")));
    return std::optional(std::move(out));
  }
  return std::optional<Resolver>();
}

void set_resolver(Resolver resolver, model::Cluster& out) {
  out.dns_use_tcp = resolver.use_tcp;
  out.dns_no_search = resolver.no_search;
  out.dns_resolvers = std::move(resolver.servers);
  out.dns_udp_max_queries = resolver.udp_max_queries;
}

Resolver default_resolver(const ClusterDefaults& defaults) {
  return {defaults.dns_use_tcp, defaults.dns_no_search, defaults.dns_resolvers, defaults.dns_udp_max_queries};
}

// Cluster and DnsCluster have their own RefreshRate messages with the same fields.
template <typename RefreshRate>
Status add_failure_rate(const RefreshRate& in, const FieldPath& path, model::Cluster& out) {
  out.dns_failure_refresh_base = to_duration(in.base_interval());
  out.dns_failure_refresh_max =
      in.has_max_interval() ? to_duration(in.max_interval()) : out.dns_failure_refresh_base * 10;
  if (out.dns_failure_refresh_max < out.dns_failure_refresh_base)
    return refuse(path, "max_interval must be greater than or equal to base_interval");
  return {};
}

template <typename Family>
model::DnsFamily to_family(Family family, Family v4_only, Family v6_only, Family v4_preferred, Family all) {
  if (family == v4_only) return model::DnsFamily::v4_only;
  if (family == v6_only) return model::DnsFamily::v6_only;
  if (family == v4_preferred) return model::DnsFamily::v4_preferred;
  if (family == all) return model::DnsFamily::all;
  return model::DnsFamily::auto_;
}

}  // namespace

Status add_dns(const proto::Cluster& in, const ClusterDefaults& defaults, const FieldPath& path,
               model::Cluster& out) {
  out.dns_family = to_family(in.dns_lookup_family(), proto::Cluster::V4_ONLY, proto::Cluster::V6_ONLY,
                             proto::Cluster::V4_PREFERRED, proto::Cluster::ALL);
  if (in.has_dns_refresh_rate()) out.dns_refresh_rate = to_duration(in.dns_refresh_rate());
  if (in.has_dns_failure_refresh_rate())
    SLUICE_TRY(add_failure_rate(in.dns_failure_refresh_rate(), path.field("dns_failure_refresh_rate"), out));
  out.dns_jitter = to_duration(in.dns_jitter());
  out.respect_dns_ttl = in.respect_dns_ttl();
  SLUICE_ASSIGN(auto resolver, resolver_of(in, path));
  if (!resolver && (!in.dns_resolvers().empty() || in.use_tcp_for_dns_lookups())) {
    resolver.emplace();
    resolver->use_tcp = in.use_tcp_for_dns_lookups();
    SLUICE_ASSIGN(resolver->servers, to_servers(in.dns_resolvers(), path.field("dns_resolvers")));
  }
  set_resolver(resolver ? std::move(*resolver) : default_resolver(defaults), out);
  return {};
}

Status add_dns_cluster_type(const proto::Cluster& in, const ClusterDefaults& defaults, const FieldPath& path,
                            model::Cluster& out) {
  const FieldPath type = path.field("cluster_type");
  const FieldPath at = type.field("typed_config");
  if (!in.cluster_type().has_typed_config())
    return refuse(at, "is missing: \"" + in.cluster_type().name() +
                          "\" alone says not what the cluster is; set \"type\", or a typed_config of " +
                          DnsCluster::descriptor()->full_name());
  SLUICE_ASSIGN(const auto message, unpack(in.cluster_type().typed_config(), at));
  if (message->GetDescriptor() != DnsCluster::descriptor())
    return refuse(at, message->GetDescriptor()->full_name() +
                          " is not a kind of cluster that this version of Sluice has; it has " +
                          DnsCluster::descriptor()->full_name() + " and the kinds of the field \"type\"");
  const auto& dns = static_cast<const DnsCluster&>(*message);
  out.type = dns.all_addresses_in_single_endpoint() ? model::ClusterType::logical_dns
                                                    : model::ClusterType::strict_dns;
  namespace common = envoy::extensions::clusters::common::dns::v3;
  out.dns_family =
      to_family(dns.dns_lookup_family(), common::V4_ONLY, common::V6_ONLY, common::V4_PREFERRED, common::ALL);
  if (dns.has_dns_refresh_rate()) out.dns_refresh_rate = to_duration(dns.dns_refresh_rate());
  if (dns.has_dns_failure_refresh_rate())
    SLUICE_TRY(add_failure_rate(dns.dns_failure_refresh_rate(), at.field("dns_failure_refresh_rate"), out));
  out.dns_jitter = to_duration(dns.dns_jitter());
  out.respect_dns_ttl = dns.respect_dns_ttl();
  Resolver resolver = default_resolver(defaults);
  if (dns.has_typed_dns_resolver_config()) {
    SLUICE_ASSIGN(resolver,
                  from_typed_config(dns.typed_dns_resolver_config(), at.field("typed_dns_resolver_config")));
  }
  set_resolver(std::move(resolver), out);
  return {};
}

Status add_dns_defaults(const envoy::config::bootstrap::v3::Bootstrap& in, ClusterDefaults& out) {
  const FieldPath top;
  SLUICE_ASSIGN(auto resolver, resolver_of(in, top));
  if (!resolver) resolver = Resolver{in.use_tcp_for_dns_lookups(), false, {}, 0};
  out.dns_use_tcp = resolver->use_tcp;
  out.dns_no_search = resolver->no_search;
  out.dns_resolvers = std::move(resolver->servers);
  out.dns_udp_max_queries = resolver->udp_max_queries;
  return {};
}

}  // namespace sluice::config
