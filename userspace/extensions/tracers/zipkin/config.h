#pragma once

#include "sluice/ext/registry.h"

namespace sluice::extensions::zipkin {
ext::Extension<ext::TracerFactory> extension();
}
