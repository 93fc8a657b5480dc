#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::original_dst {

ext::Extension<ext::ListenerFilterFactory> extension();

}  // namespace sluice::extensions::original_dst
