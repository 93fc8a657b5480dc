#pragma once

#include "sluice/ext/network_filter.h"

namespace sluice::extensions::echo {

// envoy.extensions.filters.network.echo.v3.Echo: sends back what it receives, FIN included.
ext::NetworkFilterFactory make_factory();

}  // namespace sluice::extensions::echo
