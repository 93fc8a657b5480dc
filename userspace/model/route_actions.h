#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "model/route.h"

// What a route does to a request and its response, in Envoy's order and words (RouteEntryImplBase::finalize*).
namespace sluice::model {

// ---- the request, on its way upstream ----

// The header rules of weighted cluster, route, virtual host and configuration (the last one wins; with
// most_specific_header_mutations_wins the route does). Then finalize_host, finalize_path. `keep_original`: what was there
// stays as x-envoy-original-host and -path (unless suppress_envoy_headers).
void finalize_request(const RouteMatch& match, http::HeaderMap& headers, const ext::StreamInfo& info,
                      bool keep_original);
void apply_request_headers(const RouteMatch& match, http::HeaderMap& headers, const ext::StreamInfo& info);
// host_rewrite_*, but auto_host_rewrite: that is rewrite_host() with the host's name once it is chosen.
void finalize_host(const RouteMatch& match, http::HeaderMap& headers, bool keep_original);
void rewrite_host(const RouteAction& action, std::string_view host, http::HeaderMap& headers,
                  bool keep_original);
// prefix_rewrite and regex_rewrite, of a redirect too.
void finalize_path(const RouteMatch& match, http::HeaderMap& headers, bool keep_original);
// What finalize_path() makes of :path, query and all; nothing: the route rewrites nothing.
std::optional<std::string> rewritten_path(const RouteMatch& match, const http::HeaderMap& headers);

// ---- the response ----

void apply_response_headers(const RouteMatch& match, http::HeaderMap& headers, const ext::StreamInfo& info);
// `location` of a redirect, and of a direct response that wants one (201, 3xx), which is the request's own URL; "": none.
// `request`: before finalize_path().
std::string redirect_location(const RouteMatch& match, const http::HeaderMap& request);

// ---- what stands at several levels ----

// Whether a filter is switched off (true) or on (false) for this request; nothing: no level says so.
std::optional<bool> filter_disabled(const RouteMatch& match, std::string_view filter);
// typed_per_filter_config of the most specific level that has one; null: none has.
const ext::HttpRouteConfig* filter_config(const RouteMatch& match, std::string_view filter);
// All of them, the least specific first.
void each_filter_config(const RouteMatch& match, std::string_view filter,
                        const std::function<void(const ext::HttpRouteConfig&)>& f);
const RetryPolicy* retry_policy(const RouteMatch& match);  // null: none
const std::vector<MirrorPolicy>& mirror_policies(const RouteMatch& match);
const ext::MetadataMatch& metadata_match(const RouteMatch& match);
// Bytes of a request's body that may be kept for a retry or a mirror; nothing: the connection manager's limit.
std::optional<uint32_t> request_body_limit(const RouteMatch& match);
// The first virtual cluster whose headers match; "other": none does; "": the virtual host has none.
std::string_view virtual_cluster(const VirtualHost& host, const http::HeaderMap& request);

// ---- paths ----

// "/a" of "/a?b#c".
std::string_view without_query(std::string_view path);

}  // namespace sluice::model
