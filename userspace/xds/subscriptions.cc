#include "xds/subscriptions.h"

#include <unistd.h>

#include "xds/file_subscription.h"
#include "xds/grpc_subscription.h"
#include "xds/resource.h"

namespace sluice::xds {

using Source = model::ConfigSource;

Subscriptions::Subscriptions(io::Loop& loop, ext::ClusterManager& clusters, stats::Store& store,
                             Options options)
    : loop_(loop), clusters_(clusters), options_(std::move(options)), random_(options_.seed) {
  if (options_.ads) ads_ = make_plane(*options_.ads, ads_method(options_.ads->delta), store.root(0));
}

Subscriptions::~Subscriptions() {
  stop();
}

Status Subscriptions::check() const {
  if (!options_.ads) return {};
  return check(*options_.ads, "ads");
}

Status Subscriptions::check(const model::ControlPlane& plane, std::string_view who) const {
  if (options_.node.id().empty() || options_.node.cluster().empty())
    return Error{
        std::string(who) +
        ": node 'id' and 'cluster' are required. Set it either in 'node' config or via --service-node and "
        "--service-cluster options."};
  const std::string& cluster = plane.services.front().cluster;
  if (!options_.primary_clusters.contains(cluster))
    return Error{"must have a statically defined non-EDS cluster: '" + cluster +
                 "' does not exist, was added via api, or is an EDS cluster"};
  return {};
}

void Subscriptions::start_ads() {
  if (ads_) ads_->start();
}

std::vector<PlaneView> Subscriptions::planes() const {
  std::vector<PlaneView> out;
  if (ads_) out.push_back(ads_->view());
  for (const Own& own : own_)
    if (const auto plane = own.plane.lock()) out.push_back(plane->view());
  return out;
}

void Subscriptions::stop() {
  if (ads_) ads_->stop();
  for (const Own& own : own_) {
    if (auto plane = own.plane.lock()) plane->stop();
  }
}

void Subscriptions::tell_counts() {
  if (ads_) ads_->mux().tell_counts();
  for (const Own& own : own_) {
    if (auto plane = own.plane.lock()) plane->mux().tell_counts();
  }
}

std::shared_ptr<PlaneClient> Subscriptions::make_plane(const model::ControlPlane& config,
                                                       std::string_view path, const stats::Scope& scope) {
  return std::make_shared<PlaneClient>(
      loop_, clusters_, random_, config, path,
      Mux::Options{.node = options_.node,
                   .node_on_first_message_only = config.set_node_on_first_message_only},
      scope);
}

std::shared_ptr<PlaneClient> Subscriptions::own_plane(const model::ControlPlane& config, ResourceType type,
                                                      const stats::Scope& scope) {
  std::erase_if(own_, [](const Own& own) { return own.plane.expired(); });
  for (const Own& own : own_) {
    if (own.type == type && own.config == config) return own.plane.lock();
  }
  auto plane = make_plane(config, method_of(type, config.delta), scope);
  own_.push_back({type, config, plane});
  return plane;
}

Result<std::unique_ptr<Subscription>> Subscriptions::file(const Source& source, ResourceType type,
                                                          Subscriber& subscriber, const stats::Scope& scope) {
  if (::access(source.path.c_str(), F_OK) != 0)
    return Error{"paths must refer to an existing path in the system: '" + source.path + "' does not exist"};
  if (!source.watched_directory.empty() && ::access(source.watched_directory.c_str(), F_OK) != 0)
    return Error{"paths must refer to an existing path in the system: '" + source.watched_directory +
                 "' does not exist"};
  if (!file_watch_) {
    SLUICE_ASSIGN(file_watch_, FileWatch::make(loop_));
  }
  return std::unique_ptr<Subscription>(std::make_unique<FileSubscription>(
      loop_, file_watch_, source.path, source.watched_directory, type, subscriber, scope));
}

Result<std::unique_ptr<Subscription>> Subscriptions::subscribe(const Source& source, ResourceType type,
                                                               Subscriber& subscriber,
                                                               const stats::Scope& scope) {
  switch (source.kind) {
    case Source::Kind::file:
      return file(source, type, subscriber, scope);
    case Source::Kind::ads:
      if (!ads_)
        return Error{
            "ads: dynamic_resources.ads_config is not set in the bootstrap, so there is no stream to share"};
      return std::unique_ptr<Subscription>(std::make_unique<GrpcSubscription>(
          loop_, ads_, false, type, subscriber, source.initial_fetch_timeout, scope));
    case Source::Kind::control_plane:
      break;
  }
  SLUICE_TRY(check(source.control_plane, type_url(type)));
  return std::unique_ptr<Subscription>(
      std::make_unique<GrpcSubscription>(loop_, own_plane(source.control_plane, type, scope), true, type,
                                         subscriber, source.initial_fetch_timeout, scope));
}

void Subscriptions::pause(ResourceType type) {
  if (ads_) ads_->mux().pause(type);
}

void Subscriptions::resume(ResourceType type) {
  if (ads_) ads_->mux().resume(type);
}

}  // namespace sluice::xds
