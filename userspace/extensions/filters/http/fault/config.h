#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::fault {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::fault
