#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "sluice/ext/access_log.h"
#include "sluice/ext/honoured.h"
#include "sluice/ext/http_filter.h"
#include "sluice/ext/listener_filter.h"
#include "sluice/ext/network_filter.h"
#include "sluice/ext/tracer.h"
#include "sluice/ext/transport_socket.h"

namespace google::protobuf {
class Message;
}

namespace sluice::model {
struct RouteConfig;
class RouteSource;
class ScopeSource;
template <typename T>
class SecretSource;
}  // namespace sluice::model

namespace sluice::tls {
struct Certificate;
struct TicketKeys;
struct Validation;
}  // namespace sluice::tls

namespace sluice::ext {

// An entry of a connection manager's http_filters.
struct ConfiguredHttpFilter {
  std::string name;  // as configured: the key of typed_per_filter_config
  HttpFilterFactory factory;
  bool terminal = false;
  bool disabled = false;  // only where a route says otherwise
};

class AccessLogManager;  // where loggers get their files from: see access_log_manager.h

// What a factory may use while it turns configuration into an immutable factory. Control thread only.
class FactoryContext {
 public:
  virtual AccessLogManager& access_logs() = 0;
  virtual std::string_view node_cluster() const { return {}; }  // the bootstrap's node.cluster
  virtual std::string_view node_id() const { return {}; }  // and node.id
  virtual std::string_view node_zone() const { return {}; }  // and node.locality.zone
  virtual bool outbound() const { return false; }  // of the listener that is made: traffic_direction OUTBOUND
  // May a cluster of this name be used? True also where nobody knows.
  virtual bool knows_cluster(std::string_view /*name*/) const { return true; }
  // Translates a repeated envoy.config.accesslog.v3.AccessLog entry; `path` is for error messages.
  virtual Result<AccessLoggerPtr> make_access_logger(const google::protobuf::Message& entry,
                                                     std::string_view path) = 0;
  // Translates an envoy.config.trace.v3.Tracing.Http; null: the bootstrap's tracing.http, which may be none.
  virtual Result<TracerFactory> make_tracer(const google::protobuf::Message* provider,
                                            std::string_view path) = 0;
  // Translates an envoy...http_connection_manager.v3.HttpFilter entry.
  virtual Result<ConfiguredHttpFilter> make_http_filter(const google::protobuf::Message& entry,
                                                        std::string_view path) = 0;
  // Translates an envoy.config.route.v3.RouteConfiguration.
  virtual Result<std::shared_ptr<const model::RouteConfig>> make_route_config(
      const google::protobuf::Message& config, std::string_view path) = 0;
  // Translates an envoy.config.core.v3.TransportSocket of a cluster, for one that wraps another; null: raw_buffer.
  virtual Result<UpstreamTransportFactory> make_upstream_transport(const google::protobuf::Message& socket,
                                                                   std::string_view path) = 0;
  // Routes that an envoy...http_connection_manager.v3.Rds names. The listener waits until they are there.
  virtual Result<std::shared_ptr<const model::RouteSource>> discover_routes(
      const google::protobuf::Message& rds, const std::string& stat_prefix, std::string_view path) = 0;
  // Scopes, and their routes, that an envoy...http_connection_manager.v3.ScopedRoutes with a scoped_rds names. The listener
  // waits until they are there.
  virtual Result<std::shared_ptr<const model::ScopeSource>> discover_scopes(
      const google::protobuf::Message& scoped_routes, const std::string& stat_prefix,
      std::string_view path) = 0;

  // Secrets that an envoy...tls.v3.SdsSecretConfig names: of static_resources.secrets, or discovered (SDS), or the
  // workload's own. The listener or cluster waits until they are there.
  virtual Result<std::shared_ptr<const model::SecretSource<tls::Certificate>>> find_certificate(
      const google::protobuf::Message& config, std::string_view path) = 0;
  virtual Result<std::shared_ptr<const model::SecretSource<tls::Validation>>> find_validation(
      const google::protobuf::Message& config, std::string_view path) = 0;
  virtual Result<std::shared_ptr<const model::SecretSource<tls::TicketKeys>>> find_ticket_keys(
      const google::protobuf::Message& config, std::string_view path) = 0;

 protected:
  ~FactoryContext() = default;
};

// One kind of extension: its Envoy name, the type URL of its configuration, and how to build it. `path` is the
// configuration's place ("static_resources.listeners[0].filter_chains[0].filters[0].typed_config"), for errors.
template <typename Product>
struct Extension {
  std::string name;  // "envoy.filters.network.tcp_proxy"
  std::string type;  // "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
  bool terminal = false;  // network filters: must be the last of its chain (and only there)
  Result<Product> (*create)(const google::protobuf::Message& config, FactoryContext& context,
                            std::string_view path);
  std::vector<Honoured> honoured =
      {};  // lists for `type` and the messages inside it that are this extension's alone
};

// An HTTP filter, and what it takes by route.
struct HttpFilterExtension : Extension<HttpFilterFactory> {
  std::string route_type = {};  // of typed_per_filter_config; "": it has none
  Result<HttpRouteConfigPtr> (*create_route)(const google::protobuf::Message& config, FactoryContext& context,
                                             std::string_view path) = nullptr;
};

// All built-in extensions, registered by name in userspace/main/builtin.cc: one readable list, no static initialisers.
class Registry {
 public:
  void add(Extension<NetworkFilterFactory> e) { network_[e.type] = std::move(e); }
  void add(Extension<ListenerFilterFactory> e) { listener_[e.type] = std::move(e); }
  void add(Extension<AccessLoggerPtr> e) { access_[e.type] = std::move(e); }
  void add(Extension<DownstreamTransportFactory> e) { downstream_transport_[e.type] = std::move(e); }
  void add(Extension<UpstreamTransportFactory> e) { upstream_transport_[e.type] = std::move(e); }
  void add(Extension<TracerFactory> e) { tracer_[e.type] = std::move(e); }
  void add(HttpFilterExtension e) { http_[e.type] = std::move(e); }

  // By the type of the typed_config (Envoy's rule); nullptr: not supported.
  const Extension<NetworkFilterFactory>* network_filter(std::string_view type) const {
    return find(network_, type);
  }
  const Extension<ListenerFilterFactory>* listener_filter(std::string_view type) const {
    return find(listener_, type);
  }
  const Extension<AccessLoggerPtr>* access_logger(std::string_view type) const { return find(access_, type); }

  const Extension<DownstreamTransportFactory>* downstream_transport(std::string_view type) const {
    return find(downstream_transport_, type);
  }
  const Extension<UpstreamTransportFactory>* upstream_transport(std::string_view type) const {
    return find(upstream_transport_, type);
  }

  const Extension<TracerFactory>* tracer(std::string_view type) const { return find(tracer_, type); }

  const HttpFilterExtension* http_filter(std::string_view type) const {
    auto it = http_.find(type);
    return it == http_.end() ? nullptr : &it->second;
  }
  // By the type of a typed_per_filter_config entry.
  const HttpFilterExtension* http_filter_of_route_type(std::string_view type) const {
    for (auto& [t, e] : http_)
      if (e.route_type == type) return &e;
    return nullptr;
  }

  template <typename F>
  void for_each(F f) const {
    for (auto& [t, e] : network_) f("network_filters", e.name, e.type);
    for (auto& [t, e] : listener_) f("listener_filters", e.name, e.type);
    for (auto& [t, e] : access_) f("access_loggers", e.name, e.type);
    for (auto& [t, e] : http_) f("http_filters", e.name, e.type);
    for (auto& [t, e] : downstream_transport_) f("transport_sockets.downstream", e.name, e.type);
    for (auto& [t, e] : upstream_transport_) f("transport_sockets.upstream", e.name, e.type);
    for (auto& [t, e] : tracer_) f("tracers", e.name, e.type);
  }

  // The field lists of all extensions: f(const Honoured&).
  template <typename F>
  void for_each_honoured(F f) const {
    auto each = [&](auto& map) {
      for (auto& [t, e] : map)
        for (auto& h : e.honoured) f(h);
    };
    each(network_);
    each(listener_);
    each(access_);
    each(http_);
    each(downstream_transport_);
    each(upstream_transport_);
    each(tracer_);
  }

 private:
  template <typename T>
  using Map = std::map<std::string, Extension<T>, std::less<>>;
  template <typename T>
  static const Extension<T>* find(const Map<T>& map, std::string_view type) {
    auto it = map.find(type);
    return it == map.end() ? nullptr : &it->second;
  }
  Map<NetworkFilterFactory> network_;
  Map<ListenerFilterFactory> listener_;
  Map<AccessLoggerPtr> access_;
  Map<DownstreamTransportFactory> downstream_transport_;
  Map<UpstreamTransportFactory> upstream_transport_;
  Map<TracerFactory> tracer_;
  std::map<std::string, HttpFilterExtension, std::less<>> http_;
};

}  // namespace sluice::ext
