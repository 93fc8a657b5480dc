#include "config/resources.h"

#include "config/plainly_valid.h"
#include "config/translate_route.h"
#include "config/translate_scoped_route.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"

namespace sluice::config {

using google::protobuf::Message;

Status Resources::check(const Message& message) const {
  return config::check(message, honoured_, FieldPath());
}

FactoryContext Resources::context() const {
  return FactoryContext(registry_, logs_,
                        {.has_cluster = has_cluster_,
                         .node_cluster = node_cluster_,
                         .node_id = node_id_,
                         .node_zone = node_zone_,
                         .default_tracer = default_tracer_,
                         .discovery = discovery_,
                         .secrets = secrets_});
}

Result<std::shared_ptr<const model::Cluster>> Resources::cluster(const Message& message) const {
  SLUICE_TRY(check(message));
  ClusterDefaults defaults = defaults_;
  defaults.logs = &logs_;
  FactoryContext made = context();
  return translate(static_cast<const envoy::config::cluster::v3::Cluster&>(message), defaults, made,
                   FieldPath());
}

Result<std::shared_ptr<const model::Assignment>> Resources::assignment(const Message& message) const {
  SLUICE_TRY(check(message));
  return translate(static_cast<const envoy::config::endpoint::v3::ClusterLoadAssignment&>(message),
                   FieldPath());
}

Result<std::shared_ptr<const model::Listener>> Resources::listener(const Message& message) const {
  SLUICE_TRY(check(message));
  FactoryContext made = context();
  return translate(static_cast<const envoy::config::listener::v3::Listener&>(message), made, FieldPath());
}

Result<std::shared_ptr<const model::RouteConfig>> Resources::routes(const Message& message) const {
  SLUICE_TRY(check(message));
  FactoryContext made = context();
  return translate(static_cast<const envoy::config::route::v3::RouteConfiguration&>(message), made, false,
                   FieldPath());
}

std::shared_ptr<const model::RouteConfig> Resources::next_routes(
    RouteVersions& versions, std::shared_ptr<const std::string> bytes) const {
  FactoryContext made = context();
  return versions.next(std::move(bytes), honoured_, made);
}

Result<model::ScopedRoute> Resources::scoped_route(const Message& message) const {
  SLUICE_TRY(check(message));
  FactoryContext made = context();
  return translate(static_cast<const envoy::config::route::v3::ScopedRouteConfiguration&>(message), made,
                   FieldPath());
}

Result<Secret> Resources::secret(const Message& message) const {
  SLUICE_TRY(check(message));
  return translate(static_cast<const envoy::extensions::transport_sockets::tls::v3::Secret&>(message),
                   FieldPath());
}

Result<std::shared_ptr<const ext::HttpFilterFactory>> Resources::filter(
    const Message& message, const std::vector<std::string>& types) const {
  SLUICE_TRY(check(message));
  FactoryContext made = context();
  return make_filter_factory(message, types, made);
}

}  // namespace sluice::config
