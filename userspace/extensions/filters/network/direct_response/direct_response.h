#pragma once

#include <string>

#include "sluice/ext/network_filter.h"

namespace sluice::extensions::direct_response {

// envoy.extensions.filters.network.direct_response.v3.Config: answers a new connection with `body` and closes it.
ext::NetworkFilterFactory make_factory(std::string body);

}  // namespace sluice::extensions::direct_response
