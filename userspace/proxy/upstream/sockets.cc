#include "proxy/upstream/sockets.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::upstream {

bool outside_netns(const Address& to, const ext::Upstream::Origin& origin) {
  return origin.within_netns && !to.ip().is_loopback() && origin.stream &&
         to.ip() != origin.stream->downstream_direct_local.ip();
}

Status open_upstream_socket(WorkerCluster& cluster, const Address& to, const SocketOrigin& origin, int& fd) {
  const model::Cluster& config = cluster.config();
  io::Loop& loop = cluster.loop();
  const Address source = origin.source.valid() ? origin.source.unmapped() : config.bind_address;
  const bool bind = source.valid();  // of the wrong family: fails, rather than to go out from another address
  auto open = [&](const io::SocketOptions& options) -> Status {
    SLUICE_ASSIGN(fd, loop.open_socket(to.family(), options, origin.netns_fd));
    return {};
  };
  if (!bind && origin.mark == 0) {
    SLUICE_TRY(open(config.socket_options));
    return {};
  }
  if (origin.outside)
    return Error{"original_src: " + to.to_string() +
                     " is not in the pod: its answers to the caller's address would not come back here",
                 EHOSTUNREACH};
  io::SocketOptions options = config.socket_options;
  if (origin.mark != 0) options.mark = origin.mark;
  if (bind) {
    // The port is chosen when the destination is known: ports are then counted per destination.
    options.bind_address_no_port = source.port() == 0;
    options.transparent = options.transparent || (origin.source.valid() && origin.transparent);
  }
  SLUICE_TRY(open(options));
  if (!bind) return {};
  Status bound = loop.bind(fd, source);
  if (bound.ok()) return {};
  cluster.stats().bind_errors.add();
  loop.close(std::exchange(fd, -1));
  return Error{"failed to bind to " + source.to_string() + ": " + std::strerror(bound.error().code),
               bound.error().code};
}

std::string connect_failure(const net::Connection& connection, int error) {
  if (error != 0) return std::string("delayed_connect_error: ") + std::strerror(error);
  return connection.transport_failure();
}

}  // namespace sluice::upstream
