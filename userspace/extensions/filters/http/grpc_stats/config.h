#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::grpc_stats {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::grpc_stats
