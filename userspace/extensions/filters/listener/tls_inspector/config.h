#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::tls_inspector {

ext::Extension<ext::ListenerFilterFactory> extension();

}  // namespace sluice::extensions::tls_inspector
