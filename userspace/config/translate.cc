#include "config/translate.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "config/any.h"
#include "config/convert.h"
#include "config/factory_context.h"
#include "config/honoured.h"
#include "config/translate_config_source.h"
#include "config/translate_dns.h"
#include "config/translate_secret.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "sluice/ext/registry.h"

namespace sluice::config {

using envoy::config::bootstrap::v3::Bootstrap;

namespace {

model::Node to_node(const envoy::config::core::v3::Node& in) {
  return {.id = in.id(),
          .cluster = in.cluster(),
          .region = in.locality().region(),
          .zone = in.locality().zone(),
          .sub_zone = in.locality().sub_zone()};
}

Result<model::Admin> to_admin(const envoy::config::bootstrap::v3::Admin& in, const FieldPath& path) {
  model::Admin out;
  SLUICE_ASSIGN(out.address, to_address(in.address(), path.field("address")));
  SLUICE_TRY(add_socket_options(in.socket_options(), path.field("socket_options"), out.socket_options));
  return out;
}

// Nothing is ever found.
class NoDiscovery final : public Discovery {
 public:
  Result<std::shared_ptr<const model::RouteSource>> routes(const model::ConfigSource&, const std::string&,
                                                           const std::string&) override {
    struct Never final : model::RouteSource {
      bool ready() const override { return false; }
      std::string what() const override { return "nothing"; }
      uint64_t generation() const override { return 0; }
      std::shared_ptr<const model::RouteConfig> current() const override { return nullptr; }
    };
    return std::shared_ptr<const model::RouteSource>(std::make_shared<Never>());
  }
  Result<std::shared_ptr<const model::ScopeSource>> scopes(const ScopesRequest&) override {
    struct Never final : model::ScopeSource {
      bool ready() const override { return false; }
      std::string what() const override { return "nothing"; }
      uint64_t generation() const override { return 0; }
      std::shared_ptr<const model::ScopeTable> current() const override { return nullptr; }
    };
    return std::shared_ptr<const model::ScopeSource>(std::make_shared<Never>());
  }
  Result<std::shared_ptr<const FilterSource>> filter(const FilterRequest&) override {
    struct Never final : FilterSource {
      bool ready() const override { return false; }
      std::string what() const override { return "nothing"; }
      uint64_t generation() const override { return 0; }
      std::shared_ptr<const ext::HttpFilterFactory> current() const override { return nullptr; }
    };
    return std::shared_ptr<const FilterSource>(std::make_shared<Never>());
  }
};

Result<ClusterDefaults> to_defaults(const Bootstrap& in) {
  ClusterDefaults out;
  SLUICE_TRY(add_dns_defaults(in, out));
  if (!in.cluster_manager().has_upstream_bind_config()) return out;
  const FieldPath manager("cluster_manager");
  const FieldPath at = manager.field("upstream_bind_config");
  const auto& bind = in.cluster_manager().upstream_bind_config();
  if (bind.has_source_address()) {
    SLUICE_ASSIGN(out.bind_address, to_address(bind.source_address(), at.field("source_address")));
  }
  out.socket_options.freebind = bind.freebind().value();
  SLUICE_TRY(add_socket_options(bind.socket_options(), at.field("socket_options"), out.socket_options));
  return out;
}

Status add_clusters(const Bootstrap& in, const ext::Registry& registry, ext::AccessLogManager& logs,
                    Secrets& secrets, const FieldPath& path, model::ConfigSet& out) {
  SLUICE_ASSIGN(ClusterDefaults defaults, to_defaults(in));
  defaults.logs = &logs;
  FactoryContext context(
      registry, logs, {.node_cluster = in.node().cluster(), .node_id = in.node().id(), .secrets = &secrets});
  std::unordered_map<std::string_view, int> names;
  for (int i = 0; i < in.static_resources().clusters_size(); ++i) {
    const auto& cluster = in.static_resources().clusters(i);
    const FieldPath at = path.item(static_cast<size_t>(i));
    if (auto [it, fresh] = names.emplace(cluster.name(), i); !fresh)
      return refuse(at.field("name"), "duplicate cluster '" + cluster.name() + "': clusters[" +
                                          std::to_string(it->second) + "] has this name already");
    SLUICE_ASSIGN(auto made, translate(cluster, defaults, context, at));
    out.clusters.push_back(std::move(made));
  }
  return {};
}

Status check_local_cluster(const std::string& name, const model::ConfigSet& set) {
  if (name.empty()) return {};
  const FieldPath manager("cluster_manager");
  const FieldPath at = manager.field("local_cluster_name");
  const auto found = std::ranges::find(set.clusters, name, [](const auto& c) { return c->name; });
  if (found == set.clusters.end()) return refuse(at, "local cluster '" + name + "' must be defined");
  if (std::ranges::any_of((*found)->localities, [](const model::Locality& l) { return l.priority > 0; }))
    return refuse(at, "Unexpected non-zero priority for local cluster '" + name + "'.");
  return {};
}

// What a control plane needs in the bootstrap.
Status check_plane(const model::ControlPlane& plane, const Bootstrap& in, const model::ConfigSet& set,
                   const FieldPath& path) {
  if (in.node().id().empty() || in.node().cluster().empty())
    return refuse(
        path,
        "node 'id' and 'cluster' are required. Set it either in 'node' config or via --service-node and "
        "--service-cluster options.");
  const std::string& name = plane.services.front().cluster;
  for (const auto& cluster : set.clusters) {
    if (cluster->name == name && cluster->type != model::ClusterType::eds) return {};
  }
  return refuse(path, "must have a statically defined non-EDS cluster: '" + name +
                          "' does not exist, was added via api, or is an EDS cluster");
}

Status check_source(const model::ConfigSource& source, const Bootstrap& in, const model::ConfigSet& set,
                    const FieldPath& path) {
  if (source.kind == model::ConfigSource::Kind::control_plane)
    return check_plane(source.control_plane, in, set, path);
  if (source.kind == model::ConfigSource::Kind::ads && !in.dynamic_resources().has_ads_config())
    return refuse(path, "ads: there is no stream to share, dynamic_resources.ads_config is not set");
  return {};
}

Status add_listeners(const Bootstrap& in, const ext::Registry& registry, ext::AccessLogManager& logs,
                     Discovery* discovery, Secrets& secrets, const FieldPath& path, model::ConfigSet& out,
                     ext::TracerFactory& default_tracer) {
  NoDiscovery nothing;
  std::unordered_map<std::string, int> names;
  std::unordered_map<Address, const model::Listener*> addresses;
  std::unordered_set<std::string_view> clusters;
  for (const auto& cluster : out.clusters) clusters.insert(cluster->name);
  FactoryContext::Surroundings around{
      .has_cluster = [&](std::string_view name) { return clusters.contains(name); },
      .node_cluster = in.node().cluster(),
      .node_id = in.node().id(),
      .node_zone = in.node().locality().zone(),
      .discovery = discovery ? discovery : &nothing,
      .secrets = &secrets};
  if (in.tracing().has_http()) {
    FactoryContext alone(registry, logs, around);
    SLUICE_ASSIGN(default_tracer,
                  alone.make_tracer(&in.tracing().http(), FieldPath("tracing").field("http").to_string()));
    around.default_tracer = default_tracer;
  }
  FactoryContext context(registry, logs, std::move(around));
  for (int i = 0; i < in.static_resources().listeners_size(); ++i) {
    const FieldPath at = path.item(static_cast<size_t>(i));
    SLUICE_ASSIGN(auto made, translate(in.static_resources().listeners(i), context, at));
    if (auto [it, fresh] = names.emplace(*made->name, i); !fresh)
      return refuse(at.field("name"), "duplicate listener '" + *made->name + "': listeners[" +
                                          std::to_string(it->second) + "] has this name already");
    auto claim = [&](const Address& address) -> Status {
      if (address.is_ip() && address.port() == 0) return {};  // each gets a port of its own
      auto [it, fresh] = addresses.emplace(address, made.get());
      if (fresh || it->second == made.get()) return {};
      return refuse(at.field("address"), "'" + *made->name + "' has duplicate address '" +
                                             address.to_string() + "' as existing listener '" +
                                             *it->second->name + "'");
    };
    SLUICE_TRY(claim(made->address));
    for (const Address& address : made->additional_addresses) SLUICE_TRY(claim(address));
    out.listeners.push_back(std::move(made));
  }
  return {};
}

}  // namespace

Result<ClusterDefaults> cluster_defaults(const Bootstrap& in) {
  return to_defaults(in);
}

Result<model::Bootstrap> translate(const Bootstrap& in, const ext::Registry& registry,
                                   ext::AccessLogManager& logs, Discovery* discovery, Secrets* secrets) {
  StaticSecrets bootstrap_alone;
  if (!secrets) secrets = &bootstrap_alone;
  model::Bootstrap out;
  out.node = to_node(in.node());
  const FieldPath top;
  if (in.admin().has_address()) {
    SLUICE_ASSIGN(out.admin, to_admin(in.admin(), top.field("admin")));
  }
  auto set = std::make_shared<model::ConfigSet>();
  set->generation = 1;
  const FieldPath resources("static_resources");
  const FieldPath all_secrets = resources.field("secrets");
  for (int i = 0; i < in.static_resources().secrets_size(); ++i)
    SLUICE_TRY(secrets->add_static(in.static_resources().secrets(i),
                                   all_secrets.item(static_cast<size_t>(i)).to_string()));
  SLUICE_TRY(add_clusters(in, registry, logs, *secrets, resources.field("clusters"), *set));
  out.local_cluster = in.cluster_manager().local_cluster_name();
  SLUICE_TRY(check_local_cluster(out.local_cluster, *set));
  SLUICE_TRY(add_listeners(in, registry, logs, discovery, *secrets, resources.field("listeners"), *set,
                           out.default_tracer));
  if (in.has_dynamic_resources()) {
    const FieldPath dynamic("dynamic_resources");
    SLUICE_ASSIGN(out.dynamic, to_dynamic_resources(in.dynamic_resources(), dynamic));
    if (out.dynamic.ads) SLUICE_TRY(check_plane(*out.dynamic.ads, in, *set, dynamic.field("ads_config")));
    if (out.dynamic.cds) SLUICE_TRY(check_source(*out.dynamic.cds, in, *set, dynamic.field("cds_config")));
    if (out.dynamic.lds) SLUICE_TRY(check_source(*out.dynamic.lds, in, *set, dynamic.field("lds_config")));
  }
  out.config = std::move(set);
  return out;
}

Result<Configuration> load_configuration(const LoadOptions& options, const ext::Registry& registry,
                                         ext::AccessLogManager& logs, Discovery* discovery,
                                         Secrets* secrets) {
  const HonouredFields honoured(registry);
  const KeepContents keep;
  SLUICE_ASSIGN(Loaded loaded, load_bootstrap(options, honoured));
  auto model = translate(*loaded.bootstrap, registry, logs, discovery, secrets);
  if (!model.ok()) return loaded.sources.locate(std::move(model).error());
  return Configuration{std::move(model).value(), KeptBootstrap(std::move(loaded.bytes))};
}

}  // namespace sluice::config
