#include "config/factory_context.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>

#include "config/any.h"
#include "config/convert.h"
#include "config/translate_config_source.h"
#include "config/translate_route.h"
#include "config/translate_transport.h"
#include "config/yaml_json.h"
#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/trace/v3/http_tracer.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "extensions/access_loggers/config.h"

namespace sluice::config {

namespace pb = google::protobuf;

std::string known_names(const ext::Registry& registry, std::string_view category, std::string_view name) {
  std::string all, same;
  registry.for_each([&](std::string_view c, const std::string& n, const std::string& type) {
    if (c != category) return;
    all += (all.empty() ? "" : ", ") + n;
    if (n == name) same = type;
  });
  if (const std::string remedy = name_remedy(name); same.empty() && !remedy.empty()) return remedy;
  if (!same.empty()) return "\"" + std::string(name) + "\" is configured with type.googleapis.com/" + same;
  return "this version of Sluice has " + (all.empty() ? std::string("none") : all);
}

Error no_such_extension(const FieldPath& path, const std::string& type, std::string_view what,
                        const ext::Registry& registry, std::string_view category, std::string_view name) {
  return refuse(path.field("typed_config"), type + " is not a " + std::string(what) +
                                                " that this version of Sluice has; " +
                                                known_names(registry, category, name));
}

Result<Unpacked> unpack_entry(const pb::Any* any, const std::string& name, const ext::Registry& registry,
                              std::string_view category, const FieldPath& path) {
  if (any == nullptr)
    return refuse(path, "typed_config is missing: \"" + name + "\" alone says not what it is; " +
                            known_names(registry, category, name));
  SLUICE_ASSIGN(auto config, unpack(*any, path.field("typed_config")));
  std::string type = config->GetDescriptor()->full_name();
  return Unpacked{std::move(config), std::move(type)};
}

Result<ext::AccessLoggerPtr> FactoryContext::make_access_logger(const pb::Message& message,
                                                                std::string_view at) {
  const auto& entry = static_cast<const envoy::config::accesslog::v3::AccessLog&>(message);
  const FieldPath path(at);
  SLUICE_ASSIGN(const Unpacked typed, typed_config(entry, registry_, "access_loggers", path));
  const auto* extension = registry_.access_logger(typed.type);
  if (extension == nullptr)
    return no_such_extension(path, typed.type, "access logger", registry_, "access_loggers", entry.name());
  SLUICE_ASSIGN(auto logger, extension->create(*typed.config, *this, path.field("typed_config").to_string()));
  return access_loggers::apply_filter(entry, std::move(logger), at);
}

Result<ext::ConfiguredHttpFilter> FactoryContext::make_http_filter(const pb::Message& message,
                                                                   std::string_view at) {
  using Entry = envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
  const auto& entry = static_cast<const Entry&>(message);
  const FieldPath path(at);
  if (entry.has_config_discovery()) {
    const FieldPath discovery = path.field("config_discovery");
    SLUICE_ASSIGN(auto wanted,
                  to_discovered_filter(entry.config_discovery(), entry.name(), *this, discovery));
    if (!around_.discovery) return refuse(discovery, "there is nothing here that could discover filters");
    auto source = around_.discovery->filter(wanted.request);
    if (!source.ok()) return refuse(discovery.field("config_source"), source.error().message);
    needs_.push_back(*source);
    return ext::ConfiguredHttpFilter{entry.name(), make_discovered_factory(std::move(*source)),
                                     wanted.terminal, entry.disabled()};
  }
  SLUICE_ASSIGN(const Unpacked typed, typed_config(entry, registry_, "http_filters", path));
  const auto* extension = registry_.http_filter(typed.type);
  if (extension == nullptr)
    return no_such_extension(path, typed.type, "HTTP filter", registry_, "http_filters", entry.name());
  SLUICE_ASSIGN(auto factory,
                extension->create(*typed.config, *this, path.field("typed_config").to_string()));
  return ext::ConfiguredHttpFilter{entry.name(), std::move(factory), extension->terminal, entry.disabled()};
}

Result<std::shared_ptr<const model::RouteConfig>> FactoryContext::make_route_config(const pb::Message& config,
                                                                                    std::string_view at) {
  const auto& routes = static_cast<const envoy::config::route::v3::RouteConfiguration&>(config);
  return translate(routes, *this, true, FieldPath(at));
}

Result<ext::TracerFactory> FactoryContext::make_tracer(const pb::Message* message, std::string_view at) {
  if (message == nullptr) return around_.default_tracer;
  const auto& provider = static_cast<const envoy::config::trace::v3::Tracing::Http&>(*message);
  const FieldPath path(at);
  SLUICE_ASSIGN(const Unpacked typed, typed_config(provider, registry_, "tracers", path));
  const auto* extension = registry_.tracer(typed.type);
  if (extension == nullptr)
    return no_such_extension(path, typed.type, "tracer", registry_, "tracers", provider.name());
  return extension->create(*typed.config, *this, path.field("typed_config").to_string());
}

Result<ext::UpstreamTransportFactory> FactoryContext::make_upstream_transport(const pb::Message& socket,
                                                                              std::string_view at) {
  return to_upstream_transport(static_cast<const envoy::config::core::v3::TransportSocket&>(socket), *this,
                               FieldPath(at));
}

Result<std::shared_ptr<const model::RouteSource>> FactoryContext::discover_routes(
    const pb::Message& message, const std::string& stat_prefix, std::string_view at) {
  using Rds = envoy::extensions::filters::network::http_connection_manager::v3::Rds;
  const auto& rds = static_cast<const Rds&>(message);
  const FieldPath path(at);
  const FieldPath source_at = path.field("config_source");
  if (rds.route_config_name().empty())
    return refuse(path.field("route_config_name"), "is necessary: which routes are these?");
  SLUICE_ASSIGN(model::ConfigSource source, to_config_source(rds.config_source(), source_at));
  if (!around_.discovery) return refuse(source_at, "there is nothing here that could discover routes");
  auto routes = around_.discovery->routes(source, rds.route_config_name(), stat_prefix);
  if (!routes.ok()) return refuse(source_at, routes.error().message);
  needs_.push_back(*routes);
  return routes;
}

Result<std::shared_ptr<const model::ScopeSource>> FactoryContext::discover_scopes(
    const pb::Message& message, const std::string& stat_prefix, std::string_view at) {
  using ScopedRoutes = envoy::extensions::filters::network::http_connection_manager::v3::ScopedRoutes;
  const auto& in = static_cast<const ScopedRoutes&>(message);
  const FieldPath path(at);
  const FieldPath source_at = path.field("scoped_rds").field("scoped_rds_config_source");
  ScopesRequest request;
  request.name = in.name();
  request.stat_prefix = stat_prefix;
  SLUICE_ASSIGN(request.source, to_config_source(in.scoped_rds().scoped_rds_config_source(), source_at));
  if (in.has_rds_config_source()) {
    SLUICE_ASSIGN(request.routes, to_config_source(in.rds_config_source(), path.field("rds_config_source")));
  }
  if (!around_.discovery) return refuse(source_at, "there is nothing here that could discover scopes");
  auto scopes = around_.discovery->scopes(request);
  if (!scopes.ok()) return refuse(source_at, scopes.error().message);
  needs_.push_back(*scopes);
  return scopes;
}

template <typename T>
Result<std::shared_ptr<const model::SecretSource<T>>> FactoryContext::find_secret(const pb::Message& message,
                                                                                  std::string_view at,
                                                                                  Find<T> find) {
  using Config = envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;
  const auto& config = static_cast<const Config&>(message);
  const FieldPath path(at);
  if (config.name().empty()) return refuse(path.field("name"), "is necessary: which secret is it?");
  if (!around_.secrets) return refuse(path, "there is nothing here that could find secrets");
  std::optional<model::ConfigSource> source;
  if (config.has_sds_config()) {
    SLUICE_ASSIGN(source, to_config_source(config.sds_config(), path.field("sds_config")));
  }
  auto secret = (around_.secrets->*find)(config.name(), source ? &*source : nullptr);
  if (!secret.ok()) return refuse(path.field(source ? "sds_config" : "name"), secret.error().message);
  needs_.push_back(*secret);
  return secret;
}

Result<std::shared_ptr<const model::CertificateSource>> FactoryContext::find_certificate(
    const pb::Message& config, std::string_view path) {
  return find_secret<tls::Certificate>(config, path, &Secrets::certificate);
}

Result<std::shared_ptr<const model::ValidationSource>> FactoryContext::find_validation(
    const pb::Message& config, std::string_view path) {
  return find_secret<tls::Validation>(config, path, &Secrets::validation);
}

Result<std::shared_ptr<const model::TicketKeySource>> FactoryContext::find_ticket_keys(
    const pb::Message& config, std::string_view path) {
  return find_secret<tls::TicketKeys>(config, path, &Secrets::ticket_keys);
}

}  // namespace sluice::config
