#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::upstream_proxy_protocol {

ext::Extension<ext::UpstreamTransportFactory> extension();

}  // namespace sluice::extensions::upstream_proxy_protocol
