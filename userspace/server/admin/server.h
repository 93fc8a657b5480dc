#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/result.h"
#include "io/loop.h"
#include "server/admin/http.h"

namespace sluice::admin {

class ServerConnection;

// The one answer to one request; may be given later (from the loop's thread), also after the client has gone.
// Dropping it unanswered answers 500.
class Reply {
 public:
  Reply(std::weak_ptr<ServerConnection*> to, bool head_only) : to_(std::move(to)), head_only_(head_only) {}
  Reply(Reply&&) noexcept;
  Reply& operator=(Reply&&) = delete;
  ~Reply();
  void send(Response response);

 private:
  std::weak_ptr<ServerConnection*> to_;
  bool head_only_;
  bool sent_ = false;
};

using AsyncHandler = std::function<void(const Request& request, Reply reply)>;
using Handler = std::function<Response(const Request& request)>;

// Which request goes where. Filled before the server starts.
class Router {
 public:
  struct Param {
    std::string name, help;
  };
  struct Entry {
    std::string path;  // one that ends in "/*" takes everything below it
    std::string help = {};  // empty: not listed
    bool mutates = false;  // not by GET or HEAD
    std::vector<Param> params = {};
    AsyncHandler handler = {};
  };

  void add(Entry entry, Handler handler);
  void add_async(Entry entry, AsyncHandler handler);
  void dispatch(const Request& request, Reply reply) const;
  std::string help() const;  // Envoy's /help
  std::string index_html() const;  // Envoy's admin home page, in its essentials

 private:
  std::map<std::string, Entry> entries_;
};

// A small HTTP server on the control thread's loop, over TCP and Unix sockets. Bounded in every direction:
// connections, head, body, time for a request to arrive, time without a request.
class Server {
 public:
  struct Options {
    size_t connections_max = 64;  // of all sockets together; more are closed at once
    Duration request_timeout = std::chrono::seconds(10);  // from a request's first byte to its last
    Duration idle_timeout = std::chrono::seconds(60);  // between requests
  };
  Server(io::Loop& loop, const Router& router) : Server(loop, router, Options{}) {}
  Server(io::Loop& loop, const Router& router, Options options);
  ~Server();  // closes everything; the loop must still run a few turns to let go of operations in flight: see
      // stop()

  // A Unix socket is made for its owner alone (mode 0600); a socket file that nobody listens on any more is
  // replaced.
  Status listen(const Address& address);
  const std::vector<Address>& addresses() const { return addresses_; }  // with the ports that were given out
  size_t connections() const { return connections_.size(); }
  // Stops listening and closes all connections once their answers are sent. idle() once nothing is in flight.
  void stop();
  bool idle() const;

 private:
  friend class ServerConnection;
  class Listening;
  void accepted(int fd, const Address& local);
  void closed(ServerConnection& connection);

  io::Loop& loop_;
  const Router& router_;
  const Options options_;
  std::vector<std::unique_ptr<Listening>> listening_;
  std::vector<Address> addresses_;
  std::map<ServerConnection*, std::unique_ptr<ServerConnection>> connections_;
  uint64_t next_id_ = 0;
};

}  // namespace sluice::admin
