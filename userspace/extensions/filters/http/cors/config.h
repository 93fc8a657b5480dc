#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::cors {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::cors
