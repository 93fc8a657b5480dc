#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::tcp_proxy {

ext::Extension<ext::NetworkFilterFactory> extension();

}  // namespace sluice::extensions::tcp_proxy
