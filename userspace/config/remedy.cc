// What to write instead: the words of Envoy's v2 API that are still in circulation, and spelling mistakes.
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "config/protos.h"
#include "config/yaml_json.h"
#include "core/ascii.h"

namespace sluice::config {

namespace pb = google::protobuf;

namespace {

struct OldField {
  std::string_view message;  // simple name; "*": any message
  std::string_view field;
  std::string_view remedy;
};

constexpr OldField kOldFields[] = {
    {"*", "config",
     "\"config\" is Envoy's v2 API: write \"typed_config\" with the \"@type\" of the extension"},
    {"Admin", "access_log_path",
     "\"access_log_path\" is Envoy's v2 API, of which v3 made \"access_log\"; this version of Sluice logs no "
     "requests to "
     "the admin interface: remove it"},
    {"Cluster", "hosts", "\"hosts\" is Envoy's v2 API: write \"load_assignment\" with \"endpoints\""},
    {"Cluster", "tls_context",
     "\"tls_context\" is Envoy's v2 API: write \"transport_socket\" with a typed_config of "
     "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"},
    {"FilterChain", "tls_context",
     "\"tls_context\" is Envoy's v2 API: write \"transport_socket\" with a typed_config of "
     "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"},
    {"Cluster", "extension_protocol_options",
     "\"extension_protocol_options\" is Envoy's v2 API: write \"typed_extension_protocol_options\""},
    {"Listener", "drain_listeners", "write \"drain_type\""},
    {"SocketAddress", "port", "write \"port_value\""},
    {"Bootstrap", "runtime", "\"runtime\" is Envoy's v2 API: write \"layered_runtime\""},
    {"Bootstrap", "listeners", "write it inside \"static_resources\""},
    {"Bootstrap", "clusters", "write it inside \"static_resources\""},
    {"Listener", "filters", "write it inside an entry of \"filter_chains\""},
    {"TcpProxy", "deprecated_v1",
     "\"deprecated_v1\" is Envoy's v2 API: write one filter chain a route, with a \"filter_chain_match\""},
    {"TcpProxy", "route_config", "this is Envoy's v1 API: write \"cluster\" or \"weighted_clusters\""},
    {"RouteMatch", "regex", "\"regex\" is Envoy's v2 API: write \"safe_regex\""},
    {"HeaderMatcher", "regex_match",
     "\"regex_match\" is Envoy's v2 API: write \"string_match\" with \"safe_regex\""},
    {"RouteAction", "request_mirror_policy", "this is Envoy's v2 API: write \"request_mirror_policies\""},
    {"VirtualHost", "cors",
     "not supported: write \"typed_per_filter_config\" with an "
     "envoy.extensions.filters.http.cors.v3.CorsPolicy"},
    {"RouteAction", "cors",
     "not supported: write \"typed_per_filter_config\" with an "
     "envoy.extensions.filters.http.cors.v3.CorsPolicy"},
    {"*", "per_filter_config", "\"per_filter_config\" is Envoy's v2 API: write \"typed_per_filter_config\""},
    {"Node", "build_version", "this is Envoy's v2 API: write \"user_agent_build_version\""},
    {"FileAccessLog", "json_format", "write \"log_format\" with \"json_format\""},
    {"*", "<<",
     "merge keys are no part of Envoy's YAML: write the fields out, or use an alias for the whole value"},
};

struct OldType {
  std::string_view old_name, new_name;
};

constexpr OldType kOldTypes[] = {
    {"envoy.config.filter.network.tcp_proxy.v2.TcpProxy",
     "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"},
    {"envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager",
     "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"},
    {"envoy.config.filter.network.direct_response.v2.Config",
     "envoy.extensions.filters.network.direct_response.v3.Config"},
    {"envoy.config.filter.listener.original_dst.v2.OriginalDst",
     "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"},
    {"envoy.config.filter.listener.original_src.v2alpha1.OriginalSrc",
     "envoy.extensions.filters.listener.original_src.v3.OriginalSrc"},
    {"envoy.config.filter.listener.tls_inspector.v2.TlsInspector",
     "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
    {"envoy.config.filter.listener.http_inspector.v2.HttpInspector",
     "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"},
    {"envoy.config.filter.http.router.v2.Router", "envoy.extensions.filters.http.router.v3.Router"},
    {"envoy.config.accesslog.v2.FileAccessLog", "envoy.extensions.access_loggers.file.v3.FileAccessLog"},
    {"envoy.api.v2.auth.DownstreamTlsContext",
     "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"},
    {"envoy.api.v2.auth.UpstreamTlsContext", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"},
    {"envoy.api.v2.Cluster", "envoy.config.cluster.v3.Cluster"},
    {"envoy.api.v2.Listener", "envoy.config.listener.v3.Listener"},
};

struct OldName {
  std::string_view old_name, new_name, type;
};

// Extensions that v2 configurations name without an envoy.filters. or the like.
constexpr OldName kOldNames[] = {
    {"envoy.http_connection_manager", "envoy.filters.network.http_connection_manager",
     "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"},
    {"envoy.tcp_proxy", "envoy.filters.network.tcp_proxy",
     "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"},
    {"envoy.echo", "envoy.filters.network.echo", "envoy.extensions.filters.network.echo.v3.Echo"},
    {"envoy.router", "envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"},
    {"envoy.buffer", "envoy.filters.http.buffer", "envoy.extensions.filters.http.buffer.v3.Buffer"},
    {"envoy.cors", "envoy.filters.http.cors", "envoy.extensions.filters.http.cors.v3.Cors"},
    {"envoy.fault", "envoy.filters.http.fault", "envoy.extensions.filters.http.fault.v3.HTTPFault"},
    {"envoy.health_check", "envoy.filters.http.health_check",
     "envoy.extensions.filters.http.health_check.v3.HealthCheck"},
    {"envoy.file_access_log", "envoy.access_loggers.file",
     "envoy.extensions.access_loggers.file.v3.FileAccessLog"},
    {"envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector",
     "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
    {"envoy.listener.http_inspector", "envoy.filters.listener.http_inspector",
     "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"},
    {"envoy.listener.original_dst", "envoy.filters.listener.original_dst",
     "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"},
    {"envoy.listener.original_src", "envoy.filters.listener.original_src",
     "envoy.extensions.filters.listener.original_src.v3.OriginalSrc"},
};

const OldField* find_old_field(const pb::Descriptor& type, std::string_view field) {
  for (const auto& old : kOldFields)
    if (old.field == field && (old.message == "*" || old.message == type.name())) return &old;
  return nullptr;
}

// Levenshtein's distance, case-blind.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const bool same = to_lower(a[i]) == to_lower(b[j]);
      const size_t changed = diagonal + (same ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string name_remedy(std::string_view name) {
  for (const auto& old : kOldNames) {
    if (name != old.old_name && name != old.new_name) continue;
    std::string out;
    if (name == old.old_name)
      out = "\"" + std::string(name) + "\" is v2's name of " + std::string(old.new_name) + ": ";
    return out + "write typed_config: {\"@type\": type.googleapis.com/" + std::string(old.type) + "}";
  }
  return "";
}

std::string old_field_remedy(const pb::Descriptor& type, std::string_view field) {
  const OldField* old = find_old_field(type, field);
  return old != nullptr ? std::string(old->remedy) : "";
}

std::string field_remedy(const pb::Descriptor& type, std::string_view field, std::string_view name) {
  if (std::string old = old_field_remedy(type, field); !old.empty()) {
    const std::string typed = field == "config" ? name_remedy(name) : "";
    return typed.empty() ? old : "\"config\" is Envoy's v2 API; " + typed;
  }
  std::vector<std::pair<size_t, std::string_view>> near;
  for (int i = 0; i < type.field_count(); ++i) {
    const std::string& name = type.field(i)->name();
    const size_t d = field.size() > 64
                         ? field.size()
                         : std::min(distance(field, name), distance(field, type.field(i)->json_name()));
    const bool part = field.size() > 3 && (name.starts_with(field) || name.ends_with(field));
    if (part || d <= std::max<size_t>(2, std::max(field.size(), name.size()) / 3))
      near.emplace_back(part ? 1 : d, name);
  }
  std::sort(near.begin(), near.end());
  std::string out;
  if (!near.empty()) {
    out = "did you mean ";
    for (size_t i = 0; i < near.size() && i < 3; ++i) {
      if (i > 0) out += i + 1 == std::min<size_t>(near.size(), 3) ? " or " : ", ";
      out += '"';
      out += near[i].second;
      out += '"';
    }
    return out + "?";
  }
  if (type.field_count() == 0) return "it has no fields at all";
  out = type.field_count() > 12 ? "it has, among others, " : "it has ";
  for (int i = 0; i < type.field_count() && i < 12; ++i) out += (i > 0 ? ", " : "") + type.field(i)->name();
  return out;
}

std::string type_remedy(std::string_view full_name) {
  for (const auto& old : kOldTypes)
    if (old.old_name == full_name)
      return "; this is Envoy's v2 API: write type.googleapis.com/" + std::string(old.new_name);
  if (full_name.find(".v2") != std::string_view::npos && full_name.starts_with("envoy."))
    return "; this is Envoy's v2 API, and only v3 is read: use the v3 type";
  return "";
}

}  // namespace sluice::config
