#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::health_check {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::health_check
