// RouteConfiguration and VirtualHost.
#include "config/translate_route.h"

#include <google/protobuf/struct.pb.h>

#include <algorithm>

#include "config/any.h"
#include "config/convert.h"
#include "config/print.h"
#include "core/ascii.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_rate_limit.h"
#include "extensions/common/proto_util.h"

namespace sluice::config {

namespace pb = google::protobuf;
namespace proto = envoy::config::route::v3;

namespace {

using VirtualHostPtr = std::shared_ptr<const model::VirtualHost>;

model::VirtualHost::RequireTls to_require_tls(proto::VirtualHost::TlsRequirementType in) {
  using RequireTls = model::VirtualHost::RequireTls;
  switch (in) {
    case proto::VirtualHost::EXTERNAL_ONLY:
      return RequireTls::external_only;
    case proto::VirtualHost::ALL:
      return RequireTls::all;
    default:
      return RequireTls::none;
  }
}

Status add_virtual_clusters(const proto::VirtualHost& in, const FieldPath& path, model::VirtualHost& out) {
  const FieldPath field = path.field("virtual_clusters");
  for (int i = 0; i < in.virtual_clusters_size(); ++i) {
    const auto& cluster = in.virtual_clusters(i);
    const FieldPath at = field.item(static_cast<size_t>(i));
    if (cluster.headers().empty())
      return refuse(at.field("headers"), "virtual clusters must define 'headers'");
    model::VirtualCluster made;
    made.name = cluster.name();
    SLUICE_ASSIGN(made.headers,
                  extensions::to_header_matchers(cluster.headers(), at.field("headers").to_string()));
    out.virtual_clusters.push_back(std::move(made));
  }
  return {};
}

Result<VirtualHostPtr> to_virtual_host(const proto::VirtualHost& in, const RouteContext& context,
                                       const FieldPath& path) {
  auto out = std::make_shared<model::VirtualHost>();
  out->name = in.name();
  out->domains.reserve(static_cast<size_t>(in.domains_size()));
  for (const std::string& domain : in.domains()) out->domains.push_back(to_lower(domain));
  out->require_tls = to_require_tls(in.require_tls());
  SLUICE_TRY(add_header_rules(in, path, out->header_rules));
  SLUICE_TRY(add_filter_configs(in, context, path, out->filter_configs));
  SLUICE_TRY(add_mirrors(in, context, path, out->mirrors));
  SLUICE_TRY(add_virtual_clusters(in, path, *out));
  if (in.has_retry_policy()) {
    SLUICE_ASSIGN(out->retry_policy, to_retry_policy(in.retry_policy(), context, path.field("retry_policy")));
  }
  out->include_request_attempt_count = in.include_request_attempt_count();
  out->include_attempt_count_in_response = in.include_attempt_count_in_response();
  out->include_is_timeout_retry_header = in.include_is_timeout_retry_header();
  out->request_body_limit = body_limit(in);
  out->metadata_text = metadata_text(in.metadata());
  if (!in.rate_limits().empty()) {
    SLUICE_ASSIGN(out->rate_limits,
                  extensions::to_rate_limits(in.rate_limits(), path.field("rate_limits").to_string()));
  }
  const FieldPath routes = path.field("routes");
  out->routes.reserve(static_cast<size_t>(in.routes_size()));
  for (int i = 0; i < in.routes_size(); ++i) {
    SLUICE_TRY(
        to_route(in.routes(i), context, routes.item(static_cast<size_t>(i)), out->routes.emplace_back()));
  }
  return VirtualHostPtr(std::move(out));
}

std::string text_of(const pb::Value& value) {
  return value.kind_case() == pb::Value::kStringValue ? value.string_value()
                                                      : to_json(value, {.pretty = false});
}

void add_metadata(const std::string& key, const pb::Value& value, TextPairs& out) {
  out.emplace_back(key, text_of(value));
  if (value.kind_case() != pb::Value::kStructValue) return;
  for (const auto& [name, inner] : value.struct_value().fields()) add_metadata(key + ':' + name, inner, out);
}

}  // namespace

Rare<TextPairs> metadata_text(const envoy::config::core::v3::Metadata& in) {
  if (in.filter_metadata().empty()) return {};
  TextPairs out;
  for (const auto& [filter, fields] : in.filter_metadata()) {
    out.emplace_back(filter, to_json(fields, {.pretty = false}));
    for (const auto& [name, value] : fields.fields()) add_metadata(filter + ':' + name, value, out);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Status check_cluster(const std::string& name, const RouteContext& context, std::string_view what,
                     const FieldPath& path) {
  if (!context.has_cluster || name.empty()) return {};
  if (context.has_cluster(name)) {
    if (context.outside != nullptr) context.outside->clusters.push_back(name);
    return {};
  }
  return refuse(path,
                "unknown " + std::string(what) + " '" + name + "' (validate_clusters: false allows it)");
}

// Envoy: PerFilterConfigs. A FilterConfig switches the filter off or on, or holds the filter's own configuration.
Result<model::FilterConfigs::Entry> to_filter_config(const pb::Any& in, const std::string& filter,
                                                     const RouteContext& context, const FieldPath& path) {
  model::FilterConfigs::Entry out;
  SLUICE_ASSIGN(auto message, unpack(in, path));
  bool optional = false;
  const FieldPath inner = path.field("config");
  const FieldPath* at = &path;
  if (message->GetDescriptor() == proto::FilterConfig::descriptor()) {
    const proto::FilterConfig wrapper(static_cast<const proto::FilterConfig&>(*message));
    if (wrapper.disabled()) {
      out.disabled = true;
      return out;
    }
    if (!wrapper.has_config())
      return refuse(inner, "Empty route/virtual host per filter configuration for " + filter + " filter");
    if (wrapper.config().type_url().empty()) return out;  // switched on
    optional = wrapper.is_optional();
    auto made = unpack(wrapper.config(), inner);
    if (!made.ok()) {
      if (optional) return out;
      return std::move(made).error();
    }
    message = std::move(made).value();
    at = &inner;
  }
  const std::string& type = message->GetDescriptor()->full_name();
  const ext::Registry& registry = context.factory.registry();
  const auto* extension = registry.http_filter_of_route_type(type);
  if (extension == nullptr || extension->create_route == nullptr) {
    if (optional) return out;
    if (registry.http_filter(type) != nullptr)
      return refuse(
          *at, "The filter " + filter + " doesn't support virtual host or route specific configurations");
    return refuse(*at, type + " is the configuration of no filter that this version of Sluice has; " +
                           known_names(registry, "http_filters", filter));
  }
  SLUICE_ASSIGN(out.config, extension->create_route(*message, context.factory, at->to_string()));
  return out;
}

bool RouteTranslation::new_files() {
  return std::exchange(files_, extensions::files_read()) != files_;
}

Status RouteTranslation::begin(const proto::RouteConfiguration& in, const FieldPath& path) {
  made_.config = std::make_shared<model::RouteConfig>();
  context_.outside = &made_.outside;
  if (value_or(in.has_validate_clusters(), in.validate_clusters(), validate_clusters_))
    context_.has_cluster = context_.factory.has_cluster();
  context_.max_direct_response_bytes =
      value_or(in.has_max_direct_response_body_size_bytes(), in.max_direct_response_body_size_bytes(),
               context_.max_direct_response_bytes);
  new_files();
  model::RouteConfig& out = *made_.config;
  out.name = in.name();
  SLUICE_TRY(add_header_rules(in, path, out.header_rules));
  SLUICE_TRY(add_filter_configs(in, context_, path, out.filter_configs));
  SLUICE_TRY(add_mirrors(in, context_, path, out.mirrors));
  out.most_specific_header_mutations_wins = in.most_specific_header_mutations_wins();
  out.ignore_port_in_host_matching = in.ignore_port_in_host_matching();
  out.ignore_path_parameters_in_path_matching = in.ignore_path_parameters_in_path_matching();
  out.vhost_header = to_lower(in.vhost_header());
  for (const std::string& name : in.internal_only_headers())
    out.internal_only_headers.push_back(to_lower(name));
  made_.outside.files = new_files();
  return {};
}

void RouteTranslation::reserve(size_t hosts) {
  made_.config->virtual_hosts.reserve(hosts);
  made_.hosts.reserve(hosts);
}

Status RouteTranslation::add_hosts(const proto::RouteConfiguration& in, const FieldPath& path) {
  const FieldPath hosts = path.field("virtual_hosts");
  for (int i = 0; i < in.virtual_hosts_size(); ++i) {
    context_.outside = &made_.hosts.emplace_back();
    SLUICE_ASSIGN(auto host,
                  to_virtual_host(in.virtual_hosts(i), context_, hosts.item(static_cast<size_t>(i))));
    made_.config->virtual_hosts.push_back(std::move(host));
    context_.outside->files = new_files();
  }
  return {};
}

Result<std::shared_ptr<const model::RouteConfig>> translate(const proto::RouteConfiguration& in,
                                                            FactoryContext& factory, bool validate_clusters,
                                                            const FieldPath& path) {
  RouteTranslation translation(factory, validate_clusters);
  SLUICE_TRY(translation.begin(in, path));
  translation.reserve(static_cast<size_t>(in.virtual_hosts_size()));
  SLUICE_TRY(translation.add_hosts(in, path));
  const TranslatedRoutes made = std::move(translation).take();
  if (auto indexed = made.config->index(); !indexed.ok())
    return refuse(path.field("virtual_hosts"), indexed.error().message);
  return std::shared_ptr<const model::RouteConfig>(made.config);
}

}  // namespace sluice::config
