#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::http_connection_manager {

ext::Extension<ext::NetworkFilterFactory> extension();

}  // namespace sluice::extensions::http_connection_manager
