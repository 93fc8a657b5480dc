#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::router {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::router
