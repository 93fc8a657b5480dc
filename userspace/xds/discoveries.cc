#include "xds/discoveries.h"

namespace sluice::xds {

stats::Scope RouteKey::scope(const stats::Scope& root) const {
  return root.scope("http").scope(stat_prefix).scope("rds").scope(name);
}

std::shared_ptr<const model::RouteConfig> RouteKey::next(const config::Resources& resources,
                                                         Versions& versions,
                                                         const std::shared_ptr<const std::string>& bytes) {
  return resources.next_routes(versions, bytes);
}

Result<std::shared_ptr<const model::RouteConfig>> RouteKey::make(
    const config::Resources& resources, const google::protobuf::Message& message) const {
  return resources.routes(message);
}

stats::Scope FilterKey::scope(const stats::Scope& root) const {
  return root.scope("extension_config_discovery").scope("http_filter").scope(name);
}

Result<std::shared_ptr<const ext::HttpFilterFactory>> FilterKey::make(
    const config::Resources& resources, const google::protobuf::Message& message) const {
  return resources.filter(message, request.types);
}

Status Discoveries::start(SubscriptionFactory& factory, const config::Resources& resources) {
  SLUICE_TRY(routes_.start(factory, resources));
  SLUICE_TRY(filters_.start(factory, resources));
  return scopes_.start(factory, resources);
}

Result<std::shared_ptr<const model::RouteSource>> Discoveries::routes(const model::ConfigSource& source,
                                                                      const std::string& name,
                                                                      const std::string& stat_prefix) {
  return routes_.get({source, name, stat_prefix});
}

Result<std::shared_ptr<const config::FilterSource>> Discoveries::filter(
    const config::FilterRequest& request) {
  return filters_.get(FilterKey(request));
}

}  // namespace sluice::xds
