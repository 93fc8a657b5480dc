#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/result.h"
#include "io/loop.h"
#include "sluice/ext/transport_socket.h"
#include "tls/secret.h"
#include "tls/settings.h"
#include "tls/stats.h"

// TLS for the connections of one configuration on one thread: contexts are made, used and given back there.
namespace sluice::tls {

// Where a socket lives: its blocks and its clock, and what it counts in. All outlive it.
struct SocketEnvironment {
  io::Loop& loop;
  Stats& stats;
  // For a key log's filters; only read while the socket is made. Null: not known.
  const Address* local = nullptr;
  const Address* remote = nullptr;
};

struct ServerSecrets {
  std::vector<std::shared_ptr<const Certificate>> certificates;  // at least one
  std::shared_ptr<const Validation> validation;  // null: clients are not verified
  std::shared_ptr<const TicketKeys> tickets;  // null: the process's own, which are replaced every day
};

struct ClientSecrets {
  std::vector<std::shared_ptr<const Certificate>> certificates;  // at most one is used, the first
  std::shared_ptr<const Validation> validation;  // null: any server is taken
};

class ServerContext {
 public:
  // Errors are Envoy's texts; they never quote a secret.
  static Result<std::shared_ptr<ServerContext>> make(const ServerSettings& settings,
                                                     const ServerSecrets& secrets);
  ~ServerContext();
  // A connection that a client has opened. The socket keeps what it needs of the context. Null: out of memory.
  ext::TransportSocketPtr accept(const SocketEnvironment& environment);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// What one connection to a server wants. Sessions are resumed among equal ones alone.
struct ConnectOptions {
  std::string server_name;  // SNI; "": as configured
  std::vector<std::string>
      verify_names;  // one of them must be in the certificate, beside configured matchers
  std::vector<std::string> alpn;  // instead of the configured ones; empty: those
  std::vector<std::string> alpn_fallback;  // where neither says any
  std::string host_name;  // the host's, for auto_host_sni; "": it has none
  std::string session_key;  // who the peer is and who we are: sessions are kept apart by it
};

class ClientContext {
 public:
  static Result<std::shared_ptr<ClientContext>> make(const ClientSettings& settings,
                                                     const ClientSecrets& secrets);
  ~ClientContext();
  // Null: the server's name is longer than SNI can say (255 bytes), or out of memory.
  ext::TransportSocketPtr connect(const SocketEnvironment& environment, const ConnectOptions& options);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace sluice::tls
