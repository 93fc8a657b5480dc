#pragma once

#include "config/path.h"
#include "core/result.h"
#include "model/cluster.h"
#include "sluice/ext/transport_socket.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}
namespace envoy::config::core::v3 {
class TransportSocket;
}

namespace sluice::config {

class FactoryContext;

// A transport_socket; null for raw_buffer, which is what none at all means.
Result<ext::DownstreamTransportFactory> to_downstream_transport(
    const envoy::config::core::v3::TransportSocket& in, FactoryContext& context, const FieldPath& path);
Result<ext::UpstreamTransportFactory> to_upstream_transport(
    const envoy::config::core::v3::TransportSocket& in, FactoryContext& context, const FieldPath& path);

// transport_socket and transport_socket_matches of a cluster.
Status add_transport_sockets(const envoy::config::cluster::v3::Cluster& in, FactoryContext& context,
                             const FieldPath& path, model::Cluster& out);

}  // namespace sluice::config
