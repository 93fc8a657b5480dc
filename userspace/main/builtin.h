#pragma once

#include "sluice/ext/registry.h"

namespace sluice {

// Every extension of this build, in one readable list.
void register_builtin(ext::Registry& registry);

}  // namespace sluice
