#include "model/route.h"

#include <algorithm>
#include <charconv>

#include "core/ascii.h"
#include "model/request_hash.h"
#include "model/route_actions.h"

namespace sluice::model {
namespace {

using http::Name;

// Host names are at most 253 characters: those that are longer find room on the heap.
class LowerCase {
 public:
  explicit LowerCase(std::string_view text) {
    char* out = small_;
    if (text.size() > sizeof(small_)) {
      large_.resize(text.size());
      out = large_.data();
    }
    for (size_t i = 0; i < text.size(); ++i) out[i] = to_lower(text[i]);
    text_ = {out, text.size()};
  }
  LowerCase(const LowerCase&) = delete;
  LowerCase& operator=(const LowerCase&) = delete;
  std::string_view text() const { return text_; }

 private:
  char small_[256];
  std::string large_;
  std::string_view text_;
};

// Where ":port" begins; npos: there is none. An IPv6 address stands in brackets (RFC 3986 section 3.2.2).
size_t port_start(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos) return colon;
  const size_t bracket = host.rfind(']');
  return bracket == std::string_view::npos || bracket < colon ? colon : std::string_view::npos;
}

bool equal_ignoring_case(std::string_view text, std::string_view lower_case) {
  if (text.size() != lower_case.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (to_lower(text[i]) != lower_case[i]) return false;
  return true;
}

bool is_connect(const http::HeaderMap& headers) {
  return headers.get(Name::method) == "CONNECT" ||
         equal_ignoring_case(headers.get(Name::upgrade), "connect-udp");
}

// application/grpc or application/grpc+... (Envoy: Grpc::Common::hasGrpcContentType).
bool is_grpc(const http::HeaderMap& headers) {
  constexpr std::string_view kType = "application/grpc";
  const std::string_view type = headers.get(Name::content_type);
  return type.starts_with(kType) && (type.size() == kType.size() || type[kType.size()] == '+');
}

// The parts of :path that routes look at, taken apart once a request.
struct Path {
  bool there;
  std::string_view path;  // without query, fragment and, if configured, parameters
  std::string_view query;

  Path(const http::HeaderMap& headers, bool ignore_parameters) {
    const std::string_view all = headers.get(Name::path);
    there = all.data() != nullptr;
    path = without_query(all);
    if (ignore_parameters) path = path.substr(0, path.find(';'));
    if (const size_t mark = all.find('?'); mark != std::string_view::npos) query = all.substr(mark + 1);
  }
};

bool matches(const PathMatch& m, const Path& path, const http::HeaderMap& headers) {
  auto same = [&](std::string_view text) {
    return m.case_sensitive ? text == m.text : equal_ignoring_case(text, m.text);
  };
  const std::string_view text = path.path;
  switch (m.kind) {
    case PathMatch::Kind::prefix:
      return text.size() >= m.text.size() && same(text.substr(0, m.text.size()));
    case PathMatch::Kind::exact:
      return same(text);
    case PathMatch::Kind::separated_prefix:
      return text.size() >= m.text.size() && (text.size() == m.text.size() || text[m.text.size()] == '/') &&
             same(text.substr(0, m.text.size()));
    case PathMatch::Kind::regex:
      return m.regex->full_match(text);
    case PathMatch::Kind::uri_template:  // parameters count, as in Envoy
      return m.regex->full_match(without_query(headers.get(Name::path)));
    case PathMatch::Kind::connect:
      return is_connect(headers);
  }
  return false;
}

bool matches(const Route::Conditions& c, const Path& path, const RouteInput& in) {
  if (c.fraction && !c.fraction->hit(in.random)) return false;
  if (c.grpc_only && !is_grpc(in.headers)) return false;
  for (const QueryParameterMatcher& q : c.query)
    if (!q.matches(path.query)) return false;
  if (c.tls_presented && *c.tls_presented != in.client_certificate_presented) return false;
  return !c.tls_validated || *c.tls_validated == in.client_certificate_validated;
}

bool matches(const Route& route, const Path& path, const RouteInput& in) {
  // A request without a path is a CONNECT: only routes that ask for it take it.
  if (!path.there && route.path.kind != PathMatch::Kind::connect) return false;
  if (!matches(route.path, path, in.headers)) return false;
  for (const HeaderMatcher& h : route.headers)
    if (!h.matches(in.headers)) return false;
  return !route.conditions || matches(*route.conditions, path, in);
}

// weighted_clusters.header_name: the only field of that name, if it is a number (Envoy: pickWeightedCluster).
std::optional<uint64_t> number_of(const http::HeaderMap& headers, const std::string& name) {
  if (headers.count(name) != 1) return {};
  const std::string_view text = headers.get(std::string_view(name));
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

const WeightedCluster& draw(const RouteAction& action, const RouteInput& in) {
  const RouteAction::ClusterChoice& choice = *action.choice;
  uint64_t value = in.random;
  if (choice.weight_by_hash)
    value = request_hash(*action.hash_policies, in.headers, in.info, {}).value_or(value);
  if (!choice.weight_header.empty()) value = number_of(in.headers, choice.weight_header).value_or(value);
  value %= choice.weight_total;
  return *std::upper_bound(choice.weighted_clusters.begin(), choice.weighted_clusters.end(), value,
                           [](uint64_t v, const WeightedCluster& c) { return v < c.weight_end; });
}

void choose_cluster(const RouteAction& action, const RouteInput& in, RouteMatch& out) {
  out.cluster = action.cluster;
  if (!action.choice) return;
  const std::string* header = &action.choice->cluster_header;
  if (!action.choice->weighted_clusters.empty()) {
    out.weighted = &draw(action, in);
    out.cluster = out.weighted->name;
    header = &out.weighted->cluster_header;
  }
  if (!header->empty()) out.cluster = in.headers.get(std::string_view(*header));
}

// Envoy: SslRedirectRoute.
const Route& tls_redirect_route() {
  static const Route& route = *[] {
    auto* made = new Route;
    RedirectAction redirect;
    redirect.tls_required = redirect.https = true;
    made->action = std::move(redirect);
    return made;
  }();
  return route;
}

bool wants_tls(const VirtualHost& host, const http::HeaderMap& headers) {
  if (host.require_tls == VirtualHost::RequireTls::none) return false;
  if (headers.get(Name::x_forwarded_proto) == "https") return false;
  return host.require_tls == VirtualHost::RequireTls::all || headers.get(Name::x_envoy_internal) != "true";
}

Status add_domains(const VirtualHost& host, const std::string& config, DomainTable::Builder& builder) {
  const std::string* const twice = builder.add(host);
  if (twice == nullptr) return {};
  if (*twice == "*") return Error{"Only a single wildcard domain is permitted in route " + config};
  return Error{"Only unique values for domains are permitted. Duplicate entry of domain " + *twice +
               " in route " + config};
}

}  // namespace

Status RouteConfig::index() {
  size_t count = 0;
  for (const auto& host : virtual_hosts) count += host->domains.size();
  DomainTable::Builder builder(count);
  for (const auto& host : virtual_hosts) SLUICE_TRY(add_domains(*host, name, builder));
  domains = std::move(builder).build();
  return {};
}

Status RouteConfig::index(const RouteConfig& before, std::span<const VirtualHost* const> gone,
                          std::span<const VirtualHost* const> come) {
  DomainTable::Builder builder(before.domains);
  for (const VirtualHost* host : gone) builder.remove(*host);
  for (const VirtualHost* host : come) SLUICE_TRY(add_domains(*host, name, builder));
  domains = std::move(builder).build();
  return {};
}

const VirtualHost* RouteConfig::find_virtual_host(std::string_view authority, size_t* lookups) const {
  if (domains.empty()) return domains.any();
  if (authority.data() == nullptr) return nullptr;
  if (ignore_port_in_host_matching) authority = authority.substr(0, port_start(authority));
  size_t asked = 0;
  const VirtualHost* out = domains.find(LowerCase(authority).text(), asked);
  if (lookups != nullptr) *lookups += asked;
  return out != nullptr ? out : domains.any();
}

std::optional<RouteMatch> RouteConfig::match(const RouteInput& in, bool* tls_redirect) const {
  if (tls_redirect != nullptr) *tls_redirect = false;
  RouteMatch out;
  out.virtual_host = find_virtual_host(vhost_header.empty() ? in.headers.get(Name::authority)
                                                            : in.headers.get(std::string_view(vhost_header)));
  if (out.virtual_host == nullptr) return {};
  if (wants_tls(*out.virtual_host, in.headers)) {
    if (tls_redirect != nullptr) *tls_redirect = true;
    out.route = &tls_redirect_route();
    out.config = this;
    return out;
  }
  const Path path(in.headers, ignore_path_parameters_in_path_matching);
  for (const Route& route : out.virtual_host->routes) {
    if (!matches(route, path, in)) continue;
    out.route = &route;
    if (const RouteAction* action = out.action()) choose_cluster(*action, in, out);
    out.config = this;
    return out;
  }
  return {};
}

}  // namespace sluice::model
