#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::transport_tls {

// envoy.transport_sockets.tls: DownstreamTlsContext.
ext::Extension<ext::DownstreamTransportFactory> downstream_extension();
// envoy.transport_sockets.tls: UpstreamTlsContext.
ext::Extension<ext::UpstreamTransportFactory> upstream_extension();

}  // namespace sluice::extensions::transport_tls
