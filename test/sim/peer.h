#pragma once

#include <memory>
#include <string>
#include <vector>

#include "test/sim/sim_net.h"

namespace sluice::sim {

class World;

// The far end of a connection, played by the test: a client of the simulated program or a server it calls.
class Peer final : private Endpoint {
 public:
  // What it does on its own, if anything; called from the network, while the loop waits.
  std::function<void(Peer&)> on_connected;
  std::function<void(Peer&)> on_data;      // `received` has grown
  std::function<void(Peer&)> on_end;       // FIN
  std::function<void(Peer&)> on_reset;     // RST, or the call failed (`error`)

  void write(std::string_view bytes);      // queues what the window does not allow yet
  void finish();                           // FIN, once all is written
  void reset();
  void close();                            // FIN once all is written, and reads no more
  void pause_reading() { reading_ = false; }
  void resume_reading();

  std::string received;
  bool connected = false;
  bool ended = false;                      // FIN came
  bool was_reset = false;                  // RST came
  int error = 0;                           // why the call failed (errno)
  size_t unsent() const { return queue_.size(); }
  bool over() const { return gone_ || was_reset || error; }
  bool may_write() const { return !finishing_; }  // neither finish() nor close() was called
  const Address& local() const { return socket_->local; }
  const Address& remote() const { return socket_->remote; }

 private:
  friend class World;
  Peer(SimNet& net, Socket& socket) : net_(net), socket_(&socket) { socket.endpoint = this; }
  void changed(Socket& socket) override;
  void incoming(Socket&) override {}
  void push();
  void pull();

  SimNet& net_;
  Socket* socket_;
  std::string queue_;
  bool finishing_ = false, closing_ = false;
  bool reading_ = true;
  bool gone_ = false;                      // closed here
};

// The outside: clients and servers around the simulated program. They live as long as it.
class World final : private Endpoint {
 public:
  explicit World(SimNet& net) : net_(net) {}

  // Calls `to`; `via`: is received by the socket listening there, as with sk_lookup.
  Peer& client(const Address& to, const Address& via = {});
  // A server; `accepted` gets each connection, before anything was read.
  void server(const Address& at, std::function<void(Peer&)> accepted);
  // A server that stops listening: further calls are refused.
  void stop_server(const Address& at);

  const std::vector<std::unique_ptr<Peer>>& peers() const { return peers_; }

 private:
  struct Server {
    Socket* socket;
    std::function<void(Peer&)> accepted;
  };
  void changed(Socket&) override {}
  void incoming(Socket& listener) override;
  Peer& add(Socket& socket);

  SimNet& net_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<Server> servers_;
};

}  // namespace sluice::sim
