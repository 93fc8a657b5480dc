#pragma once

#include <string_view>

#include "core/buffer.h"
#include "model/route.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::router {

// Sends a copy of a request to another cluster and forgets it: its answer is dropped. It lives by itself until that has
// come, or `timeout` (0: none). `own_address` is who sends it, for x-forwarded-for. Nothing of `context` is kept.
void mirror(ext::HttpFilterContext& context, std::string_view cluster, const model::MirrorPolicy& policy,
            const http::HeaderMap& headers, Buffer&& body, const http::HeaderMap* trailers, Duration timeout,
            std::string_view own_address);

}  // namespace sluice::extensions::router
