#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::echo {

ext::Extension<ext::NetworkFilterFactory> extension();

}  // namespace sluice::extensions::echo
