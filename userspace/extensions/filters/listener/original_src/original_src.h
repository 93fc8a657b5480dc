#pragma once

#include <cstdint>

#include "sluice/ext/listener_filter.h"

namespace sluice::extensions::original_src {

// envoy.extensions.filters.listener.original_src.v3.OriginalSrc: the upstream connection is made from the caller's IP
// address (with a new port), so that the app sees who called. `mark` is the upstream socket's SO_MARK.
ext::ListenerFilterFactory make_factory(uint32_t mark);

}  // namespace sluice::extensions::original_src
