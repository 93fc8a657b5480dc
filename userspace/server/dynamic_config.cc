#include "server/dynamic_config.h"

#include <algorithm>

#include "core/log.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "xds/node.h"
#include "xds/subscriptions.h"

namespace sluice::server {

// Needs no control plane: Envoy's InitializePhase::Primary. A secret that comes by ADS makes a cluster wait for that, where
// Envoy waits in vain, until initial_fetch_timeout.
bool DynamicConfig::is_primary(const model::Cluster& c) const {
  if (std::ranges::any_of(c.needs, [this](const auto& need) { return secrets_.aggregated(*need); }))
    return false;
  return c.type != model::ClusterType::eds || c.eds_source->kind == model::ConfigSource::Kind::file;
}

DynamicConfig::DynamicConfig(io::Loop& loop, stats::Store& store, const ext::Registry& registry,
                             ext::AccessLogManager& logs, bool workloads)
    : loop_(loop),
      store_(store),
      registry_(registry),
      logs_(logs),
      discoveries_(loop, store.root(0)),
      secrets_(loop, store.root(0), {.workloads = workloads}) {}

DynamicConfig::~DynamicConfig() = default;

Status DynamicConfig::start_primary_clusters(const config::Configuration& configuration,
                                             upstream::ClusterDirectory& clusters, uint64_t seed) {
  sources_ = configuration.model.dynamic;
  static_ = configuration.model.config;
  directory_ = &clusters;
  const model::Node& node = configuration.model.node;
  resources_ = std::make_unique<config::Resources>(registry_, logs_, node.cluster, node.id);
  resources_->set_tracing(node.zone, configuration.model.default_tracer);
  const auto bootstrap = configuration.bootstrap.without_static_resources();
  SLUICE_ASSIGN(auto defaults, config::cluster_defaults(*bootstrap));
  resources_->set_cluster_defaults(std::move(defaults));
  resources_->set_discovery(&discoveries_);
  resources_->set_secrets(&secrets_);
  resources_->set_has_cluster([this](std::string_view name) { return directory_->has(name); });
  clusters_ = clusters.make_worker(loop_, 0, seed);
  xds::Subscriptions::Options options;
  options.node = xds::make_node(bootstrap->node(), registry_, SLUICE_VERSION);
  options.ads = sources_.ads;
  for (const auto& c : static_->clusters) {
    if (c->type != model::ClusterType::eds) options.primary_clusters.insert(c->name);
  }
  options.seed = seed;
  subscriptions_ = std::make_unique<xds::Subscriptions>(loop_, *clusters_, store_, std::move(options));
  eds_ = std::make_unique<xds::Eds>(loop_, *subscriptions_, *resources_, store_);
  clusters.set_endpoint_discovery(eds_.get());
  secrets_.when_ready([this] {
    directory_->check_needs();
    if (listeners_) listeners_->check_warming();
  });
  SLUICE_TRY(secrets_.start(*subscriptions_, *resources_));
  return put_clusters(true);
}

Status DynamicConfig::put_clusters(bool primary) {
  for (const auto& c : static_->clusters) {
    if (is_primary(*c) != primary) continue;
    if (auto done = directory_->put(c); !done) return std::move(done).error();
  }
  return {};
}

Status DynamicConfig::start_secondary_clusters() {
  if (Status s = subscriptions_->check(); !s)
    return std::move(s).error().prefixed("dynamic_resources.ads_config");
  subscriptions_->start_ads();
  return put_clusters(false);
}

Status DynamicConfig::start_cds() {
  if (!sources_.cds) return {};
  cds_ = std::make_unique<xds::Cds>(loop_, *subscriptions_, *resources_, *directory_, store_.root(0));
  if (Status s = cds_->start(*sources_.cds); !s)
    return std::move(s).error().prefixed("dynamic_resources.cds_config");
  return {};
}

Status DynamicConfig::start_listeners(ListenerManager& listeners) {
  listeners_ = &listeners;
  discoveries_.before_change([this] { directory_->tell_workers(); });
  discoveries_.when_ready([this] { listeners_->check_warming(); });
  SLUICE_TRY(discoveries_.start(*subscriptions_, *resources_));
  if (!sources_.lds) return {};
  lds_ = std::make_unique<xds::Lds>(*subscriptions_, *resources_, static_cast<xds::ListenerSink&>(*this));
  if (Status s = lds_->start(*sources_.lds, store_.root(0)); !s)
    return std::move(s).error().prefixed("dynamic_resources.lds_config");
  return {};
}

Result<model::ConfigSource> DynamicConfig::open(const std::string& path) {
  const std::string name = "sds:" + path;
  if (++sds_clusters_[path] == 1) {
    envoy::config::cluster::v3::Cluster cluster;
    cluster.set_name(name);
    cluster.set_type(envoy::config::cluster::v3::Cluster::STATIC);
    cluster.mutable_connect_timeout()->set_seconds(1);
    auto* assignment = cluster.mutable_load_assignment();
    assignment->set_cluster_name(name);
    assignment->add_endpoints()
        ->add_lb_endpoints()
        ->mutable_endpoint()
        ->mutable_address()
        ->mutable_pipe()
        ->set_path(path);
    envoy::extensions::upstreams::http::v3::HttpProtocolOptions http;
    http.mutable_explicit_http_config()->mutable_http2_protocol_options();
    (*cluster.mutable_typed_extension_protocol_options())
        ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
            .PackFrom(http);
    auto made = resources_->cluster(cluster);
    Status put;
    if (!made.ok())
      put = std::move(made).error();
    else if (auto done = directory_->put(std::move(*made), true); !done)
      put = std::move(done).error();
    if (!put) {
      sds_clusters_.erase(path);
      return std::move(put).error().prefixed(name);
    }
    subscriptions_->add_primary_cluster(name);
  }
  model::ConfigSource source;
  source.kind = model::ConfigSource::Kind::control_plane;
  source.control_plane.services.emplace_back().cluster = name;
  return source;
}

void DynamicConfig::close(const std::string& path) {
  const auto at = sds_clusters_.find(path);
  if (at == sds_clusters_.end() || --at->second > 0) return;
  sds_clusters_.erase(at);
  subscriptions_->remove_primary_cluster("sds:" + path);
  directory_->remove("sds:" + path);
}

void DynamicConfig::tell_counts() {
  if (subscriptions_) subscriptions_->tell_counts();
}

std::vector<xds::PlaneView> DynamicConfig::lost_planes() const {
  std::vector<xds::PlaneView> out;
  if (subscriptions_) out = subscriptions_->planes();
  std::erase_if(out, [](const xds::PlaneView& p) { return p.connected; });
  return out;
}

void DynamicConfig::stop() {
  if (subscriptions_) subscriptions_->stop();
  if (clusters_) clusters_->close();
}

void DynamicConfig::release() {
  secrets_.stop();
  cds_.reset();
  clusters_.reset();
}

ListenerOrigin DynamicConfig::origin(const xds::Resource& resource) const {
  auto message = resource.unpack();
  return {true, std::string(resource.version), loop_.wall_now(), message.ok() ? *message : nullptr};
}

Status DynamicConfig::put_listener(std::shared_ptr<const model::Listener> listener,
                                   const xds::Resource& resource) {
  ListenerOrigin from = origin(resource);
  directory_->tell_workers();  // of the clusters that came before it
  // Last, since it makes what the listener needs in every enrolled workload: one that is refused leaves nothing there.
  auto check = [this, message = from.message] {
    return listener_check_ && message ? listener_check_(*message) : Status();
  };
  return listeners_->put(std::move(listener), std::move(from), check);
}

bool DynamicConfig::remove_listener(const std::string& name) {
  return listeners_->remove(name);
}

void DynamicConfig::note_refused_listener(const xds::Resource& resource, const std::string& why) {
  listeners_->note_failure(std::string(resource.name), why, origin(resource));
}

std::vector<std::string> DynamicConfig::discovered_listeners() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : listeners_->entries())
    if (entry.discovered) out.push_back(name);
  return out;
}

}  // namespace sluice::server
