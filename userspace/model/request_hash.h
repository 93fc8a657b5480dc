#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "http/header_map.h"
#include "sluice/ext/stream_info.h"

namespace sluice::model {

struct HashPolicy;

// Gets the value of a cookie that is missing and that the policy wants made.
using MakeCookie = std::function<std::string(const HashPolicy&)>;

// RouteAction.hash_policy of one request (Envoy: Http::HashPolicyImpl; equal requests get equal hashes from both).
// Nothing: no policy finds what it hashes. Without `make_cookie` no cookie is made.
std::optional<uint64_t> request_hash(const std::vector<HashPolicy>& policies, const http::HeaderMap& request,
                                     const ext::StreamInfo& info, const MakeCookie& make_cookie);

// The value of a cookie, without its quotes; "": it is not there.
std::string_view cookie_value(const http::HeaderMap& request, std::string_view name);
// What a made cookie holds: the same for all streams of a connection (Envoy: Router::Filter::addDownstreamSetCookie).
std::string made_cookie_value(const ext::StreamInfo& info);
// The set-cookie field of a made cookie.
std::string set_cookie(const HashPolicy& policy, std::string_view value);

}  // namespace sluice::model
