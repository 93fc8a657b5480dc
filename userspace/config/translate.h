#pragma once

#include <memory>

#include "config/load.h"
#include "core/result.h"
#include "model/bootstrap.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}
namespace envoy::config::endpoint::v3 {
class ClusterLoadAssignment;
}
namespace envoy::config::listener::v3 {
class Listener;
}
namespace sluice::ext {
class AccessLogManager;
class Registry;
}  // namespace sluice::ext

namespace sluice::config {

class Discovery;
class Secrets;
class FactoryContext;
class FieldPath;

// What the bootstrap sets for every cluster that does not say otherwise.
struct ClusterDefaults {
  bool dns_use_tcp = false, dns_no_search = false;
  uint32_t dns_udp_max_queries = 0;
  std::vector<Address> dns_resolvers;
  Address bind_address;
  io::SocketOptions socket_options;  // with bind_address
  ext::AccessLogManager* logs = nullptr;  // for the events of health checks
};

// One message → its immutable model. Messages must have passed validate() and HonouredFields::check(); what
// these could not know (addresses, combinations, names of extensions) is checked here, and the error starts
// with the field's path.
Result<std::shared_ptr<const model::Cluster>> translate(const envoy::config::cluster::v3::Cluster& cluster,
                                                        const ClusterDefaults& defaults,
                                                        FactoryContext& context, const FieldPath& path);
// What EDS sends; addresses are IP addresses or pipes.
Result<std::shared_ptr<const model::Assignment>> translate(
    const envoy::config::endpoint::v3::ClusterLoadAssignment& assignment, const FieldPath& path);
Result<std::shared_ptr<const model::Listener>> translate(
    const envoy::config::listener::v3::Listener& listener, FactoryContext& context, const FieldPath& path);

// The static resources, the node and the admin interface. Also refuses names and addresses used twice. As in
// Envoy, a tcp_proxy may name a cluster that does not exist (yet), a route of a connection manager's own may not.
Result<model::Bootstrap> translate(const envoy::config::bootstrap::v3::Bootstrap& bootstrap,
                                   const ext::Registry& registry, ext::AccessLogManager& logs,
                                   Discovery* discovery = nullptr, Secrets* secrets = nullptr);
Result<ClusterDefaults> cluster_defaults(const envoy::config::bootstrap::v3::Bootstrap& bootstrap);

// All of it: from the command line's options to the model. Errors say file, line and column where they can.
struct Configuration {
  model::Bootstrap model;
  KeptBootstrap bootstrap;  // as loaded, for config_dump
};
// `discovery` (or `secrets`) null: what listeners would discover is checked and taken as not there yet (--mode validate).
Result<Configuration> load_configuration(const LoadOptions& options, const ext::Registry& registry,
                                         ext::AccessLogManager& logs, Discovery* discovery = nullptr,
                                         Secrets* secrets = nullptr);

}  // namespace sluice::config
