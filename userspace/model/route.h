#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/random.h"
#include "core/rare.h"
#include "core/regex.h"
#include "core/result.h"
#include "core/time.h"
#include "http/header_map.h"
#include "model/dependency.h"
#include "model/domain_table.h"
#include "model/matchers.h"
#include "model/rate_limit.h"
#include "model/retry_policy.h"
#include "sluice/ext/http_filter.h"
#include "sluice/ext/http_upstream.h"
#include "sluice/ext/stream_info.h"

// envoy.config.route.v3, immutable. https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/route_matching
namespace sluice::model {

// A header value with %OPERATORS%; literals too.
class HeaderFormatter {
 public:
  virtual ~HeaderFormatter() = default;
  virtual void format(const ext::StreamInfo& info, std::string& out) const = 0;
};

// request_headers_to_add/_to_remove and their response twins, of one level.
struct HeaderRules {
  enum class Append : uint8_t {
    append_if_exists_or_add,
    add_if_absent,
    overwrite_if_exists_or_add,
    overwrite_if_exists
  };
  struct Add {
    std::string name = {};  // in lower case
    std::string literal = {};  // where there is no formatter
    std::shared_ptr<const HeaderFormatter> formatter = {};
    Append append = Append::append_if_exists_or_add;
    bool keep_empty = false;
  };
  std::vector<Add> add;
  std::vector<std::string> remove;  // in lower case
  bool empty() const { return add.empty() && remove.empty(); }
  // Removes; then all values are made, then those that overwrite are written, then the others are added (Envoy:
  // HeaderParser::evaluateHeaders).
  void apply(http::HeaderMap& headers, const ext::StreamInfo& info) const;
};
struct HeaderRulesPair {
  HeaderRules request, response;
};

// typed_per_filter_config by the filter's name in the HTTP filter list.
struct FilterConfigs {
  struct Entry {
    ext::HttpRouteConfigPtr config;  // null: only switched off or on
    bool disabled = false;
  };
  std::map<std::string, Entry, std::less<>> by_name;
};

// RouteAction.HashPolicy.
struct HashPolicy {
  enum class Kind : uint8_t { header, cookie, source_ip, query_parameter };
  Kind kind = Kind::header;
  bool terminal = false;
  std::string name = {};  // of the header (lower case), cookie or parameter
  std::optional<Regex> regex = {};  // header: regex_rewrite
  std::string substitution = {};
  std::optional<Duration> cookie_ttl = {};  // set: make the cookie where it is missing; 0: a session cookie
  std::string cookie_path = {};
  std::vector<std::pair<std::string, std::string>> cookie_attributes = {};
};

struct MirrorPolicy {
  std::string cluster = {};  // or
  std::string cluster_header = {};  // in lower case
  Fraction fraction = {};
  bool disable_shadow_host_suffix = false;
  std::optional<bool> trace_sampled = {};  // nothing: a copy is traced where its request is
};

struct WeightedCluster {
  std::string name;  // or
  std::string cluster_header;  // in lower case
  uint64_t weight_end = 0;  // cumulative
  Rare<HeaderRulesPair> headers;
  std::string host_rewrite;
  ext::MetadataMatch metadata_match;  // with the route's
  Rare<FilterConfigs> filter_configs;
};

// RouteAction.
struct RouteAction {
  std::string cluster;  // or, by `choice`, another one for each request
  struct ClusterChoice {
    std::string cluster_header;  // in lower case; or
    std::vector<WeightedCluster> weighted_clusters;
    uint64_t weight_total = 0;
    std::string weight_header;  // weighted_clusters.header_name, in lower case
    bool weight_by_hash = false;  // weighted_clusters.use_hash_policy
  };
  Rare<ClusterChoice> choice;

  enum class HostRewrite : uint8_t { none, literal, from_upstream, header, path_regex };
  struct Rewrites {
    std::optional<std::string> prefix_rewrite;
    std::optional<Regex> regex_rewrite;
    std::string regex_substitution;
    HostRewrite host_rewrite = HostRewrite::none;
    std::string host_rewrite_text;  // the literal, the header (lower case), or the substitution
    std::optional<Regex> host_rewrite_regex;
    bool append_x_forwarded_host = false;
  };
  Rare<Rewrites> rewrites;

  Duration timeout = std::chrono::seconds(15);  // 0: none
  // Deprecated pair, Istio sends it: the other one is one of `limits`.
  std::optional<Duration> max_grpc_timeout;
  struct StreamLimits {
    std::optional<Duration> idle_timeout;  // nothing: the connection manager's
    std::optional<Duration> max_stream_duration;  // 0: none
    std::optional<Duration> grpc_timeout_header_max, grpc_timeout_header_offset;  // max_stream_duration.*
    std::optional<Duration> grpc_timeout_offset;
  };
  Rare<StreamLimits> limits;

  uint16_t cluster_not_found_status = 503;
  ext::RoutingPriority priority = ext::RoutingPriority::normal;
  bool include_host_rate_limits = false;  // include_vh_rate_limits
  std::shared_ptr<const RetryPolicy> retry_policy;  // null: the virtual host's. Routes share equal ones
  Rare<std::vector<MirrorPolicy>> mirrors;
  Rare<std::vector<HashPolicy>> hash_policies;
  Rare<ext::MetadataMatch> metadata_match;
  struct Upgrade {
    std::string type;  // in lower case
    bool enabled = true;
    bool terminate = false;  // connect_config: a CONNECT ends here, its bytes go to the host as they are
    bool allow_post = false;  // so do a POST's
    uint8_t proxy_protocol = 0;  // the host is told who calls: PROXY protocol 1 or 2; 0: it is not
  };
  Rare<std::vector<Upgrade>> upgrades;
  struct InternalRedirect {
    uint32_t max = 1;
    std::vector<uint16_t> codes = {302};
    bool allow_cross_scheme = false;
    // Predicates: where the target's route is one of these (by name), where it does not lead from http to https.
    std::optional<std::vector<std::string>> allowed_routes;
    bool safe_cross_scheme = false;
    bool previous_routes = false;  // where this route has not led this request there before
    std::vector<std::string> copied_headers;  // response_headers_to_copy, in lower case
  };
  Rare<InternalRedirect> internal_redirect;  // false: none
  Rare<std::vector<RateLimit>> rate_limits;
};

struct RedirectAction {
  bool tls_required =
      false;  // not configured: VirtualHost::require_tls asks for https and everything else as it was
  uint16_t status = 301;
  std::string scheme;  // "" : unchanged
  bool https = false;
  std::string host;
  uint32_t port = 0;  // 0: unchanged
  struct PathChange {
    std::optional<std::string> path, prefix_rewrite;
    std::optional<Regex> regex_rewrite;
    std::string regex_substitution;
  };
  Rare<PathChange> path_change;
  bool strip_query = false;
};

struct DirectResponseAction {
  uint16_t status = 200;
  std::string body;
  std::shared_ptr<const HeaderFormatter> body_formatter;  // body_format: sees `body` as %LOCAL_REPLY_BODY%
  std::string content_type;  // of body_format; "": text/plain where there is a body
};

struct NonForwardingAction {};

struct RouteTracing;  // model/tracing.h

// RouteMatch.
struct PathMatch {
  enum class Kind : uint8_t { prefix, exact, separated_prefix, regex, uri_template, connect };
  std::string text;  // in lower case without case_sensitive; the template as it is
  std::optional<Regex> regex;  // of a template, too
  Kind kind = Kind::prefix;
  bool case_sensitive = true;
};

struct RouteConfig;
struct VirtualHost;
using TextPairs = std::vector<std::pair<std::string, std::string>>;

struct Route {
  std::string name;
  PathMatch path;
  std::vector<HeaderMatcher> headers;
  struct Conditions {
    std::vector<QueryParameterMatcher> query;
    bool grpc_only = false;
    std::optional<bool> tls_presented, tls_validated;
    std::optional<Fraction> fraction;  // runtime_fraction
  };
  Rare<Conditions> conditions;  // further ones
  std::variant<RouteAction, RedirectAction, DirectResponseAction, NonForwardingAction> action;
  std::string decorator_operation;
  std::shared_ptr<const RouteTracing> tracing;  // null: as the connection manager says
  Rare<HeaderRulesPair> header_rules;
  Rare<FilterConfigs> filter_configs;
  Rare<std::string> stat_prefix;
  // For %METADATA(ROUTE:filter:key:...)%: "filter:key:..." → text, of every level; what is no string is JSON.
  Rare<TextPairs> metadata_text;  // sorted by key
  std::optional<uint32_t> request_body_limit;  // per_request_buffer_limit_bytes, request_body_buffer_limit
  bool decorator_propagate = true;
};
// There are tens of thousands of them, and a request looks at one after the other.
static_assert(sizeof(Route) <= 400);

struct VirtualCluster {
  std::string name = {};
  std::vector<HeaderMatcher> headers = {};
};

struct VirtualHost {
  enum class RequireTls : uint8_t { none, external_only, all };
  std::string name;
  std::vector<std::string> domains;  // in lower case
  std::vector<Route> routes;
  RequireTls require_tls = RequireTls::none;
  bool include_request_attempt_count = false;
  bool include_attempt_count_in_response = false;
  bool include_is_timeout_retry_header = false;
  std::optional<uint32_t> request_body_limit;
  std::vector<VirtualCluster> virtual_clusters;
  Rare<HeaderRulesPair> header_rules;
  Rare<FilterConfigs> filter_configs;
  std::shared_ptr<const RetryPolicy> retry_policy;  // null: none
  Rare<std::vector<MirrorPolicy>> mirrors;
  Rare<std::vector<RateLimit>> rate_limits;
  Rare<TextPairs> metadata_text;  // as Route::metadata_text
};

// What matching may look at beside the headers.
struct RouteInput {
  const http::HeaderMap& headers;  // :authority, :path, :method and the rest, after path normalization
  const ext::StreamInfo& info;
  uint64_t random = 0;  // of the stream: the same at each match of it
  bool tls = false;
  bool client_certificate_presented = false,
       client_certificate_validated = false;  // by the TLS connection's peer
};

// A route as found for one request. Good as long as the RouteConfig it was found in.
struct RouteMatch {
  const RouteConfig* config = nullptr;
  const VirtualHost* virtual_host = nullptr;
  const Route* route = nullptr;
  const WeightedCluster* weighted = nullptr;  // the one that was drawn
  // Where it goes, for a RouteAction; "" if a cluster_header names it and is not there. Good as long as the request's
  // header map, too.
  std::string_view cluster;

  const RouteAction* action() const { return std::get_if<RouteAction>(&route->action); }
};

// RouteConfiguration. Versions of one share the virtual hosts that are the same in both.
struct RouteConfig {
  std::string name;
  std::vector<std::shared_ptr<const VirtualHost>> virtual_hosts;
  Rare<HeaderRulesPair> header_rules;
  Rare<FilterConfigs> filter_configs;
  bool most_specific_header_mutations_wins = false;
  bool ignore_port_in_host_matching = false;
  bool ignore_path_parameters_in_path_matching = false;
  std::string vhost_header;  // in lower case; "" : :authority
  std::vector<std::string> internal_only_headers;
  Rare<std::vector<MirrorPolicy>> mirrors;

  // Nothing: no virtual host, or no route of it, matches. Where the virtual host wants TLS and the request came without
  // (x-forwarded-proto says), the route found is a redirect to https, and `tls_redirect` is set.
  std::optional<RouteMatch> match(const RouteInput& input, bool* tls_redirect = nullptr) const;
  // Exact, then "*.suffix" the longest first, then "prefix.*" the longest first, then "*". `lookups`: adds how many
  // tables were asked.
  const VirtualHost* find_virtual_host(std::string_view authority, size_t* lookups = nullptr) const;

  // Makes `domains` from virtual_hosts; once, last. A domain that stands twice (Envoy's words): an error.
  Status index();
  // The same where virtual_hosts are those of `before` without `gone`, and with `come`: what is equal is shared.
  Status index(const RouteConfig& before, std::span<const VirtualHost* const> gone,
               std::span<const VirtualHost* const> come);
  DomainTable domains;
};

// Where a connection manager takes its routes from: fixed, or discovered. Workers ask for the generation with every
// request and for the routes when that has changed.
class RouteSource : public Dependency {
 public:
  // Changes with current(): as long as it stays, what current() gave before is good.
  virtual uint64_t generation() const = 0;
  virtual std::shared_ptr<const RouteConfig> current() const = 0;  // null: not there yet
};

}  // namespace sluice::model
