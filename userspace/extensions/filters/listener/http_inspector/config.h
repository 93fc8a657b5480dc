#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::http_inspector {

ext::Extension<ext::ListenerFilterFactory> extension();

}  // namespace sluice::extensions::http_inspector
