#include "proxy/health/probe.h"

#include <utility>

#include "proxy/health/grpc_probe.h"
#include "proxy/health/tcp_probe.h"

namespace sluice::health {

ProbeContext::ProbeContext(io::Loop& l, std::shared_ptr<const model::Cluster> c,
                           const model::HealthCheck& health, const stats::Scope& scope)
    : loop(l),
      cluster(std::move(c)),
      check(health),
      http1_stats(scope),
      http2_stats(scope),
      protocol_error(scope.counter("upstream_cx_protocol_error")),
      verify_cluster(scope.scope("health_check").counter("verify_cluster")) {}

Result<net::ConnectionPtr> ProbeContext::open(const Target& target, std::optional<bool> http2,
                                              net::ConnectionHandler& handler) {
  ext::TransportSocketPtr transport;
  if (target.transport) {
    static const std::vector<std::string> kHttp1 = {"http/1.1"}, kHttp2 = {"h2"};
    const ext::UpstreamTransportOptions wanted{.alpn = check.alpn};
    std::string failure;
    transport = target.transport->make({.host = target.peer,
                                        .options = check.alpn.empty() ? nullptr : &wanted,
                                        .alpn_fallback = !http2   ? nullptr
                                                         : *http2 ? &kHttp2
                                                                  : &kHttp1},
                                       failure);
    if (!transport) return Error{std::move(failure)};
  }
  io::SocketOptions options = cluster->socket_options;
  const Address& source = cluster->bind_address;
  if (source.valid()) options.bind_address_no_port = source.port() == 0;
  SLUICE_ASSIGN(const int fd, loop.open_socket(target.address.family(), options));
  if (source.valid()) {
    if (Status bound = loop.bind(fd, source); !bound.ok()) {
      loop.close(fd);
      return std::move(bound).error().prefixed("failed to bind to " + source.to_string());
    }
  }
  return net::Connection::create(loop, fd, {.id = ++connection_ids}, handler, std::move(transport));
}

std::unique_ptr<Probe> make_probe(ProbeContext& context, Target target, Probe::Owner& owner) {
  const auto& kind = context.check.kind;
  if (const auto* http = std::get_if<model::HttpHealthCheck>(&kind))
    return std::make_unique<HttpProbe>(context, *http, std::move(target), owner);
  if (const auto* tcp = std::get_if<model::TcpHealthCheck>(&kind))
    return std::make_unique<TcpProbe>(context, *tcp, std::move(target), owner);
  return std::make_unique<GrpcProbe>(context, std::get<model::GrpcHealthCheck>(kind), std::move(target),
                                     owner);
}

}  // namespace sluice::health
