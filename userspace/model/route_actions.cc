#include "model/route_actions.h"

#include <algorithm>

namespace sluice::model {
namespace {

using http::Name;

// Every level's rules, in the order in which they are applied.
template <typename Which>
void apply_levels(const RouteMatch& match, Which which, http::HeaderMap& headers,
                  const ext::StreamInfo& info) {
  const HeaderRules* levels[] = {&which(*match.route->header_rules),
                                 &which(*match.virtual_host->header_rules),
                                 &which(*match.config->header_rules)};
  if (match.config->most_specific_header_mutations_wins) std::swap(levels[0], levels[2]);
  for (const HeaderRules* rules : levels) rules->apply(headers, info);
}

bool made_by_require_tls(const RouteMatch& match) {
  const auto* redirect = std::get_if<RedirectAction>(&match.route->action);
  return redirect != nullptr && redirect->tls_required;
}

// How much of :path a prefix_rewrite replaces.
size_t matched_length(const PathMatch& m, std::string_view path) {
  const std::string_view whole = without_query(path);
  if (m.kind == PathMatch::Kind::regex || m.kind == PathMatch::Kind::connect) return whole.size();
  return std::min(m.text.size(), path.size());  // a filter may have changed the path since
}

std::string with_regex(const Regex& regex, const std::string& substitution, std::string_view path) {
  const std::string_view whole = without_query(path);
  std::string out;
  regex.replace_all(whole, substitution, out);
  out += path.substr(whole.size());
  return out;
}

std::string with_prefix(const PathMatch& m, const std::string& prefix, std::string_view path) {
  std::string out = prefix;
  out += path.substr(matched_length(m, path));
  return out;
}

std::optional<std::string> rewritten_path(const RedirectAction& redirect, const PathMatch& m,
                                          std::string_view path) {
  const RedirectAction::PathChange& change = *redirect.path_change;
  if (change.regex_rewrite) {
    const std::string_view whole = without_query(path);
    std::string out;
    change.regex_rewrite->replace_all(whole, change.regex_substitution, out);
    if (out.empty()) return {};
    out += path.substr(whole.size());
    return out;
  }
  if (change.prefix_rewrite && !change.prefix_rewrite->empty())
    return with_prefix(m, *change.prefix_rewrite, path);
  return {};
}

// The request's host, without a port that is replaced or that belonged to the scheme that is left (Envoy:
// processRequestHost). x-forwarded-proto says what the client used.
std::string_view host_of(const http::HeaderMap& request, std::string_view scheme, bool new_port) {
  const std::string_view host = request.get(Name::authority);
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos) return host;
  if (const size_t bracket = host.rfind(']'); bracket != std::string_view::npos && bracket > colon)
    return host;
  const std::string_view port = host.substr(colon), used = request.get(Name::x_forwarded_proto);
  bool drop = new_port;
  if (scheme != used) drop |= (used == "https" && port == ":443") || (used == "http" && port == ":80");
  return drop ? host.substr(0, colon) : host;
}

// A host that stands last in x-forwarded-host already is not put there once more.
void append_forwarded_host(std::string_view host, http::HeaderMap& headers) {
  const std::string_view there = headers.get(Name::x_forwarded_host);
  const size_t comma = there.rfind(',');
  const std::string_view last = comma == std::string_view::npos ? there : there.substr(comma + 1);
  if (there.empty() || last != host) headers.append(Name::x_forwarded_host, host);
}

// The levels of typed_per_filter_config, the most specific first: f(const FilterConfigs&) → true: enough.
template <typename F>
bool any_level(const RouteMatch& match, F f) {
  auto level = [&](const Rare<FilterConfigs>& configs) { return configs && f(*configs); };
  if (match.weighted != nullptr && level(match.weighted->filter_configs)) return true;
  return level(match.route->filter_configs) || level(match.virtual_host->filter_configs) ||
         level(match.config->filter_configs);
}

const FilterConfigs::Entry* entry(const FilterConfigs& configs, std::string_view filter) {
  const auto found = configs.by_name.find(filter);
  return found == configs.by_name.end() ? nullptr : &found->second;
}

}  // namespace

std::string_view without_query(std::string_view path) {
  return path.substr(0, path.find_first_of("?#"));
}

void apply_request_headers(const RouteMatch& match, http::HeaderMap& headers, const ext::StreamInfo& info) {
  if (match.weighted != nullptr) {
    match.weighted->headers->request.apply(headers, info);
    if (!match.weighted->host_rewrite.empty()) headers.set(Name::authority, match.weighted->host_rewrite);
  }
  apply_levels(
      match, [](const HeaderRulesPair& p) -> const HeaderRules& { return p.request; }, headers, info);
}

void apply_response_headers(const RouteMatch& match, http::HeaderMap& headers, const ext::StreamInfo& info) {
  if (made_by_require_tls(match)) return;
  if (match.weighted != nullptr) match.weighted->headers->response.apply(headers, info);
  apply_levels(
      match, [](const HeaderRulesPair& p) -> const HeaderRules& { return p.response; }, headers, info);
}

void rewrite_host(const RouteAction& action, std::string_view host, http::HeaderMap& headers,
                  bool keep_original) {
  const std::string_view old = headers.get(Name::authority);
  if (action.rewrites->append_x_forwarded_host && !old.empty()) append_forwarded_host(old, headers);
  if (keep_original && !old.empty()) headers.set(Name::x_envoy_original_host, old);
  headers.set(Name::authority, host);
}

void finalize_host(const RouteMatch& match, http::HeaderMap& headers, bool keep_original) {
  const RouteAction* action = match.action();
  if (action == nullptr) return;
  using Kind = RouteAction::HostRewrite;
  std::string_view host;
  std::string made;
  const RouteAction::Rewrites& rewrites = *action->rewrites;
  switch (rewrites.host_rewrite) {
    case Kind::none:
    case Kind::from_upstream:
      return;
    case Kind::literal:
      host = rewrites.host_rewrite_text;
      break;
    case Kind::header:
      host = headers.get(std::string_view(rewrites.host_rewrite_text));
      break;
    case Kind::path_regex:
      rewrites.host_rewrite_regex->replace_all(without_query(headers.get(Name::path)),
                                               rewrites.host_rewrite_text, made);
      host = made;
      break;
  }
  if (!host.empty()) rewrite_host(*action, host, headers, keep_original);
}

std::optional<std::string> rewritten_path(const RouteMatch& match, const http::HeaderMap& headers) {
  const std::string_view path = headers.get(Name::path);
  if (const auto* redirect = std::get_if<RedirectAction>(&match.route->action))
    return rewritten_path(*redirect, match.route->path, path);
  const RouteAction* action = match.action();
  if (action == nullptr || !action->rewrites) return {};
  const RouteAction::Rewrites& rewrites = *action->rewrites;
  if (rewrites.prefix_rewrite) return with_prefix(match.route->path, *rewrites.prefix_rewrite, path);
  if (rewrites.regex_rewrite) return with_regex(*rewrites.regex_rewrite, rewrites.regex_substitution, path);
  return {};
}

void finalize_path(const RouteMatch& match, http::HeaderMap& headers, bool keep_original) {
  const auto path = rewritten_path(match, headers);
  if (!path) return;
  if (keep_original) headers.set(Name::x_envoy_original_path, headers.get(Name::path));
  headers.set(Name::path, *path);
}

void finalize_request(const RouteMatch& match, http::HeaderMap& headers, const ext::StreamInfo& info,
                      bool keep_original) {
  apply_request_headers(match, headers, info);
  finalize_host(match, headers, keep_original);
  finalize_path(match, headers, keep_original);
}

std::string redirect_location(const RouteMatch& match, const http::HeaderMap& request) {
  static const RedirectAction same;
  const auto* redirect = std::get_if<RedirectAction>(&match.route->action);
  if (const auto* direct = std::get_if<DirectResponseAction>(&match.route->action))
    if (direct->status == 201 || (direct->status >= 300 && direct->status < 400)) redirect = &same;
  if (redirect == nullptr) return "";
  std::string out;
  if (redirect->tls_required) {
    out = "https://";
    out += request.get(Name::authority);
    out += request.get(Name::path);
    return out;
  }
  std::string_view scheme = redirect->https ? "https" : request.get(Name::scheme);
  if (!redirect->scheme.empty()) scheme = redirect->scheme;
  out += scheme;
  out += "://";
  out += redirect->host.empty() ? host_of(request, scheme, redirect->port != 0)
                                : std::string_view(redirect->host);
  if (redirect->port != 0) out += ':' + std::to_string(redirect->port);

  const std::string_view path = request.get(Name::path);
  const size_t query = std::min(path.find('?'), path.size());
  if (const auto& own = redirect->path_change->path; own && !own->empty()) {
    out += *own;
    // A query of the redirect's own takes the request's place, and stays whatever strip_query says.
    const bool own_query = own->find('?') != std::string::npos;
    if (!own_query && !redirect->strip_query) out += path.substr(query);
    return out;
  }
  const auto rewritten = rewritten_path(*redirect, match.route->path, path);
  std::string_view target = rewritten ? std::string_view(*rewritten) : path;
  if (redirect->strip_query) target = target.substr(0, target.find('?'));
  out += target;
  return out;
}

std::optional<bool> filter_disabled(const RouteMatch& match, std::string_view filter) {
  std::optional<bool> out;
  any_level(match, [&](const FilterConfigs& level) {
    const auto* e = entry(level, filter);
    if (e != nullptr) out = e->disabled;
    return e != nullptr;
  });
  return out;
}

const ext::HttpRouteConfig* filter_config(const RouteMatch& match, std::string_view filter) {
  const ext::HttpRouteConfig* out = nullptr;
  any_level(match, [&](const FilterConfigs& level) {
    const auto* e = entry(level, filter);
    if (e != nullptr) out = e->config.get();
    return out != nullptr;
  });
  return out;
}

void each_filter_config(const RouteMatch& match, std::string_view filter,
                        const std::function<void(const ext::HttpRouteConfig&)>& f) {
  const ext::HttpRouteConfig* found[4];
  size_t count = 0;
  any_level(match, [&](const FilterConfigs& level) {
    const auto* e = entry(level, filter);
    if (e != nullptr && e->config != nullptr) found[count++] = e->config.get();
    return false;
  });
  while (count > 0) f(*found[--count]);
}

const RetryPolicy* retry_policy(const RouteMatch& match) {
  const RouteAction* action = match.action();
  if (action != nullptr && action->retry_policy) return action->retry_policy.get();
  return match.virtual_host->retry_policy.get();
}

const std::vector<MirrorPolicy>& mirror_policies(const RouteMatch& match) {
  const RouteAction* action = match.action();
  if (action != nullptr && !action->mirrors->empty()) return *action->mirrors;
  return match.virtual_host->mirrors->empty() ? *match.config->mirrors : *match.virtual_host->mirrors;
}

const ext::MetadataMatch& metadata_match(const RouteMatch& match) {
  static const ext::MetadataMatch none;
  if (match.weighted != nullptr) return match.weighted->metadata_match;
  const RouteAction* action = match.action();
  return action != nullptr ? *action->metadata_match : none;
}

std::optional<uint32_t> request_body_limit(const RouteMatch& match) {
  return match.route->request_body_limit ? match.route->request_body_limit
                                         : match.virtual_host->request_body_limit;
}

std::string_view virtual_cluster(const VirtualHost& host, const http::HeaderMap& request) {
  if (host.virtual_clusters.empty()) return "";
  for (const VirtualCluster& c : host.virtual_clusters) {
    const bool hit = std::all_of(c.headers.begin(), c.headers.end(),
                                 [&](const HeaderMatcher& h) { return h.matches(request); });
    if (hit) return c.name;
  }
  return "other";
}

}  // namespace sluice::model
