#pragma once

#include <memory>
#include <string>

#include "config/factory_context.h"
#include "config/honoured.h"
#include "config/route_versions.h"
#include "config/translate.h"
#include "config/translate_secret.h"
#include "core/result.h"
#include "model/config_source.h"
#include "model/route.h"

namespace google::protobuf {
class Message;
}

namespace sluice::config {

// Makes the model of one resource that a control plane or a watched file has sent: checked by the API's rules, refused
// where a field is not honoured, then translated. The same steps as for static resources; errors start with the path
// inside the resource. Control thread only; outlives nothing it makes.
class Resources {
 public:
  Resources(const ext::Registry& registry, ext::AccessLogManager& logs, std::string node_cluster = {},
            std::string node_id = {})
      : registry_(registry),
        logs_(logs),
        node_cluster_(std::move(node_cluster)),
        node_id_(std::move(node_id)),
        honoured_(registry) {}

  const HonouredFields& honoured() const { return honoured_; }
  // What the bootstrap says to connection managers that trace: its node.locality.zone, its tracing.http.
  void set_tracing(std::string node_zone, ext::TracerFactory default_tracer) {
    node_zone_ = std::move(node_zone);
    default_tracer_ = std::move(default_tracer);
  }
  // What the bootstrap sets for every cluster (cluster_manager.upstream_bind_config and the like).
  void set_cluster_defaults(ClusterDefaults defaults) { defaults_ = std::move(defaults); }
  // Where connection managers get routes and filters that are discovered. Without it they are refused.
  void set_discovery(Discovery* discovery) { discovery_ = discovery; }
  // Where TLS contexts find the secrets that they name. Without it those are refused.
  void set_secrets(Secrets* secrets) { secrets_ = secrets; }
  // Clusters that are there, for routes which want that checked (validate_clusters).
  void set_has_cluster(HasCluster has_cluster) { has_cluster_ = std::move(has_cluster); }

  // `message` is an envoy.config.<kind>.v3 Cluster, ClusterLoadAssignment, Listener or RouteConfiguration.
  Result<std::shared_ptr<const model::Cluster>> cluster(const google::protobuf::Message& message) const;
  Result<std::shared_ptr<const model::Assignment>> assignment(const google::protobuf::Message& message) const;
  Result<std::shared_ptr<const model::Listener>> listener(const google::protobuf::Message& message) const;
  Result<std::shared_ptr<const model::RouteConfig>> routes(const google::protobuf::Message& message) const;
  // See RouteVersions::next().
  std::shared_ptr<const model::RouteConfig> next_routes(RouteVersions& versions,
                                                        std::shared_ptr<const std::string> bytes) const;
  // Of an envoy.config.route.v3.ScopedRouteConfiguration.
  Result<model::ScopedRoute> scoped_route(const google::protobuf::Message& message) const;

  // Of an envoy...tls.v3.Secret; reads the files that it names.
  Result<Secret> secret(const google::protobuf::Message& message) const;

  // Of an envoy.config.core.v3.TypedExtensionConfig whose type is one of `types`.
  Result<std::shared_ptr<const ext::HttpFilterFactory>> filter(const google::protobuf::Message& message,
                                                               const std::vector<std::string>& types) const;

  // The first two steps alone, for messages that have no model of their own.
  Status check(const google::protobuf::Message& message) const;

 private:
  FactoryContext context() const;

  const ext::Registry& registry_;
  ext::AccessLogManager& logs_;
  const std::string node_cluster_, node_id_;
  std::string node_zone_;
  ext::TracerFactory default_tracer_;
  const HonouredFields honoured_;
  ClusterDefaults defaults_;
  Discovery* discovery_ = nullptr;
  Secrets* secrets_ = nullptr;
  HasCluster has_cluster_;
};

}  // namespace sluice::config
