#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::direct_response {

ext::Extension<ext::NetworkFilterFactory> extension();

}  // namespace sluice::extensions::direct_response
