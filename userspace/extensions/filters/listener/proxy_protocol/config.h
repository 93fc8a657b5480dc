#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::proxy_protocol {

ext::Extension<ext::ListenerFilterFactory> extension();

}  // namespace sluice::extensions::proxy_protocol
