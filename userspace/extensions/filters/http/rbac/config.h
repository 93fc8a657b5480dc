#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::http_rbac {

ext::HttpFilterExtension extension();

}  // namespace sluice::extensions::http_rbac
