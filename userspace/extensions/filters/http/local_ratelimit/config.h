#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::local_ratelimit {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::local_ratelimit
