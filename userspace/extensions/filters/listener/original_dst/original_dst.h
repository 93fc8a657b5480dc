#pragma once

#include "sluice/ext/listener_filter.h"

namespace sluice::extensions::original_dst {

// envoy.extensions.filters.listener.original_dst.v3.OriginalDst: the local address becomes the one that the client had
// asked for. A connection that was not redirected keeps its local address.
ext::ListenerFilterFactory make_factory();

}  // namespace sluice::extensions::original_dst
