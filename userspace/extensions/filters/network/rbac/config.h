#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::network_rbac {

ext::Extension<ext::NetworkFilterFactory> extension();

}  // namespace sluice::extensions::network_rbac
