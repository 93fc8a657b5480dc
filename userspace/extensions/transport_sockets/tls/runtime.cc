// The transport sockets of one configuration on one thread.
#include <utility>

#include "extensions/transport_sockets/tls/context_cache.h"
#include "extensions/transport_sockets/tls/factory_stats.h"
#include "extensions/transport_sockets/tls/settings.h"
#include "sluice/ext/upstream.h"
#include "tls/context.h"

namespace sluice::extensions::transport_tls {
namespace {

// What both sides do alike: whose context is it, and is it still good?
template <typename Context>
class Contexts {
 public:
  Contexts(const ext::TransportScope& scope, std::string_view side, const SecretSources& sources)
      : ssl_stats(scope.stats), stats(scope, side, sources), sources_(sources), cache_(sources) {}

  // `make`: of (SecretSet, effective validation).
  template <typename Make>
  const typename ContextCache<Context>::Entry& get(uint64_t workload, Make make) {
    return cache_.get(workload, sources_.generation(), [&](const SecretSet& secrets) {
      const auto validation = sources_.effective(secrets.validation);
      if (Status ok = validation ? check_merged(*validation) : Status(); !ok.ok())
        return Result<std::shared_ptr<Context>>(std::move(ok).error());
      auto made = make(secrets, validation);
      if (made.ok()) stats.on_context(workload, secrets, validation.get());
      return made;
    });
  }

  void forget(uint64_t workload) {
    cache_.forget(workload);
    stats.on_forgotten(workload);
  }

  tls::Stats ssl_stats;
  FactoryStats stats;

 private:
  const SecretSources& sources_;
  ContextCache<Context> cache_;
};

class ServerTransport final : public ext::DownstreamTransport {
 public:
  ServerTransport(std::shared_ptr<const ServerConfig> config, const ext::TransportScope& scope)
      : config_(std::move(config)),
        loop_(scope.loop),
        contexts_(scope, "server_ssl_socket_factory", config_->secrets) {}

  ext::TransportSocketPtr make(const Request& request, std::string& failure) override {
    const auto& entry = contexts_.get(request.workload, [&](const SecretSet& s, const auto& validation) {
      return tls::ServerContext::make(config_->settings, {s.certificates, validation, s.tickets});
    });
    if (!entry.context) {
      contexts_.stats.downstream_not_ready.add();
      failure = entry.failure;
      return nullptr;
    }
    auto socket = entry.context->accept({loop_, contexts_.ssl_stats, request.local, request.remote});
    if (!socket) failure = "TLS error: out of memory";
    return socket;
  }

  void forget_workload(uint64_t workload) override { contexts_.forget(workload); }

 private:
  const std::shared_ptr<const ServerConfig> config_;
  io::Loop& loop_;
  Contexts<tls::ServerContext> contexts_;
};

class ClientTransport final : public ext::UpstreamTransport {
 public:
  ClientTransport(std::shared_ptr<const ClientConfig> config, const ext::TransportScope& scope)
      : config_(std::move(config)),
        loop_(scope.loop),
        contexts_(scope, "client_ssl_socket_factory", config_->secrets) {}

  ext::TransportSocketPtr make(const Request& request, std::string& failure) override {
    const auto& entry = contexts_.get(request.workload, [&](const SecretSet& s, const auto& validation) {
      return tls::ClientContext::make(config_->settings, {s.certificates, validation});
    });
    if (!entry.context) {
      contexts_.stats.upstream_not_ready.add();
      failure = entry.failure;
      return nullptr;
    }
    tls::ConnectOptions options;
    if (request.options) {
      options.server_name = request.options->server_name;
      options.verify_names = request.options->verify_names;
      options.alpn = request.options->alpn;
    }
    if (request.alpn_fallback) options.alpn_fallback = *request.alpn_fallback;
    tls::SocketEnvironment environment{.loop = loop_, .stats = contexts_.ssl_stats};
    if (request.host) {
      options.host_name = request.host->hostname();
      options.session_key = request.host->address().to_string();
      environment.remote = &request.host->address();
    }
    auto socket = entry.context->connect(environment, options);
    if (!socket) failure = "TLS error: the server's name is longer than SNI can say";
    return socket;
  }

  void forget_workload(uint64_t workload) override { contexts_.forget(workload); }

 private:
  const std::shared_ptr<const ClientConfig> config_;
  io::Loop& loop_;
  Contexts<tls::ClientContext> contexts_;
};

}  // namespace

ext::DownstreamTransportFactory make_server_factory(std::shared_ptr<const ServerConfig> config) {
  return [config = std::move(config)](const ext::TransportScope& scope) {
    return std::make_unique<ServerTransport>(config, scope);
  };
}

ext::UpstreamTransportFactory make_client_factory(std::shared_ptr<const ClientConfig> config) {
  return [config = std::move(config)](const ext::TransportScope& scope) {
    return std::make_unique<ClientTransport>(config, scope);
  };
}

}  // namespace sluice::extensions::transport_tls
