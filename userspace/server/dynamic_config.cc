#include "server/dynamic_config.h"

#include "core/log.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "xds/subscriptions.h"

namespace sluice::server {
namespace {

// As control planes see it: what the bootstrap says, and what this is.
envoy::config::core::v3::Node full_node(envoy::config::core::v3::Node node, const ext::Registry& registry) {
  if (node.user_agent_name().empty()) node.set_user_agent_name("sluice");
  if (node.user_agent_version_type_case() == envoy::config::core::v3::Node::USER_AGENT_VERSION_TYPE_NOT_SET)
    node.set_user_agent_version(SLUICE_VERSION);
  if (node.extensions().empty())
    registry.for_each([&](std::string_view category, const std::string& name, const std::string& type) {
      auto* extension = node.add_extensions();
      extension->set_name(name);
      extension->set_category("envoy.filters." + std::string(category));
      extension->add_type_urls(type);
    });
  return node;
}

}  // namespace

DynamicConfig::DynamicConfig(io::Loop& loop, stats::Store& store, const ext::Registry& registry,
                             ext::AccessLogManager& logs)
    : loop_(loop), store_(store), registry_(registry), logs_(logs), discoveries_(loop, store.root(0)) {}

DynamicConfig::~DynamicConfig() = default;

Status DynamicConfig::start(const config::Configuration& configuration, upstream::ClusterDirectory& clusters,
                            uint64_t seed) {
  sources_ = configuration.model.dynamic;
  if (sources_.cds)
    return Error{
        "dynamic_resources.cds_config: this version of Sluice does not discover clusters; write them as "
        "static_resources.clusters"};
  resources_ = std::make_unique<config::Resources>(registry_, logs_, configuration.model.node.cluster);
  const auto bootstrap = configuration.bootstrap.without_static_resources();
  SLUICE_ASSIGN(auto defaults, config::cluster_defaults(*bootstrap));
  resources_->set_cluster_defaults(std::move(defaults));
  resources_->set_discovery(&discoveries_);
  clusters_ = clusters.make_worker(loop_, 0, seed);
  resources_->set_has_cluster([this](std::string_view name) { return clusters_->has(name); });
  xds::Subscriptions::Options options;
  options.node = full_node(bootstrap->node(), registry_);
  options.ads = sources_.ads;
  for (const auto& c : configuration.model.config->clusters) options.primary_clusters.insert(c->name);
  options.seed = seed;
  subscriptions_ = std::make_unique<xds::Subscriptions>(loop_, *clusters_, store_, std::move(options));
  SLUICE_TRY(subscriptions_->check());
  subscriptions_->start_ads();
  return {};
}

Status DynamicConfig::start_listeners(ListenerManager& listeners) {
  listeners_ = &listeners;
  discoveries_.when_ready([this] { listeners_->check_warming(); });
  SLUICE_TRY(discoveries_.start(*subscriptions_, *resources_));
  if (!sources_.lds) return {};
  lds_ = std::make_unique<xds::Lds>(*subscriptions_, *resources_, static_cast<xds::ListenerSink&>(*this));
  if (Status s = lds_->start(*sources_.lds, store_.root(0)); !s)
    return std::move(s).error().prefixed("dynamic_resources.lds_config");
  return {};
}

void DynamicConfig::stop() {
  if (subscriptions_) subscriptions_->stop();
  if (clusters_) clusters_->close();
}

ListenerOrigin DynamicConfig::origin(const xds::Resource& resource) const {
  auto message = resource.unpack();
  return {true, resource.version, loop_.wall_now(), message.ok() ? *message : nullptr};
}

Status DynamicConfig::put_listener(std::shared_ptr<const model::Listener> listener,
                                   const xds::Resource& resource) {
  return listeners_->put(std::move(listener), origin(resource));
}

void DynamicConfig::remove_listener(const std::string& name) {
  listeners_->remove(name);
}

void DynamicConfig::note_refused_listener(const xds::Resource& resource, const std::string& why) {
  listeners_->note_failure(resource.name, why, origin(resource));
}

std::vector<std::string> DynamicConfig::discovered_listeners() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : listeners_->entries())
    if (entry.discovered) out.push_back(name);
  return out;
}

}  // namespace sluice::server
