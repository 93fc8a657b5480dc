#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::buffer {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::buffer
