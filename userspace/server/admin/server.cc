#include "server/admin/server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "core/fd.h"
#include "core/log.h"
#include "net/connection.h"

namespace sluice::admin {
namespace {

// Room for the largest request and what a client sends behind it.
constexpr uint32_t kBufferLimit = 2 * (RequestParser::kHeadMax + RequestParser::kBodyMax);

std::string imf_fixdate(WallTime t) {  // RFC 9110 5.6.7
  std::time_t seconds = std::chrono::floor<std::chrono::seconds>(t).time_since_epoch().count();
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm)};
}

}  // namespace

class ServerConnection final : public net::ConnectionHandler {
 public:
  ServerConnection(Server& server, int fd, const Address& local, uint64_t id)
      : server_(server),
        local_(local.is_pipe()),
        self_(std::make_shared<ServerConnection*>(this)),
        deadline_(server.loop_.timers(), &expired, this),
        connection_(
            net::Connection::create(server.loop_, fd, {.id = id, .buffer_limit = kBufferLimit}, *this)) {
    connection_->start(local, server.loop_.peer_address(fd));
    wait(server_.options_.idle_timeout);
  }
  ~ServerConnection() { *self_ = nullptr; }

  void on_data(net::Connection&, Buffer& data, bool end_stream) override {
    while (!closing_) {
      if (data.empty()) break;
      std::string scratch;
      switch (parser_.parse(data.peek(data.size(), scratch))) {
        case RequestParser::Status::need_more:
          if (!std::exchange(in_request_, true)) wait(server_.options_.request_timeout);
          if (end_stream) connection_->close(ext::CloseKind::no_flush);
          return;
        case RequestParser::Status::bad:
          keep_alive_ = false;
          data.clear();
          return respond(parser_.error(), false);
        case RequestParser::Status::complete:
          data.drain(parser_.consumed());
          serve(std::move(parser_.request()));
          break;
      }
      if (pending_) return;
    }
    if (end_stream && !closing_) connection_->close(ext::CloseKind::flush);
  }

  void on_closed(ext::Connection&, const ext::CloseEvent&) override { server_.closed(*this); }

  void respond(const Response& response, bool head_only) {
    if (closing_) return;
    if (std::exchange(pending_, false)) connection_->resume_reading();
    in_request_ = false;
    Buffer out;
    out.append(server_.loop_.blocks(),
               serialize(response, imf_fixdate(server_.loop_.wall_now()), keep_alive_, head_only));
    connection_->write(std::move(out), false);
    if (keep_alive_) return wait(server_.options_.idle_timeout);
    finish();
  }

  // After what is queued.
  void finish() {
    if (pending_) {
      keep_alive_ = false;  // the answer closes it
      return;
    }
    closing_ = true;
    wait(server_.options_.idle_timeout);
    connection_->close(ext::CloseKind::flush);
  }

 private:
  void serve(Request request) {
    request.local = local_;
    keep_alive_ = keep_alive_ && request.keep_alive;
    bool head_only = request.method == "HEAD";
    pending_ = true;
    connection_->pause_reading();
    deadline_.cancel();
    server_.router_.dispatch(request, Reply(self_, head_only));
  }

  void wait(Duration d) { deadline_.arm(server_.loop_.now() + d); }

  static void expired(io::Timer& timer) {
    ServerConnection& c = *timer.owner<ServerConnection>();
    if (c.in_request_ && !c.closing_) {
      c.keep_alive_ = false;
      return c.respond(Response::text(408, "the request did not arrive in time\n"), false);
    }
    c.connection_.reset();  // no on_closed after this
    c.server_.closed(c);
  }

  Server& server_;
  const bool local_;
  std::shared_ptr<ServerConnection*> self_;  // replies ask it whether we are still here
  RequestParser parser_;
  bool keep_alive_ = true;
  bool pending_ = false;     // a handler has the request
  bool in_request_ = false;  // part of a request has arrived
  bool closing_ = false;
  io::Timer deadline_;
  net::ConnectionPtr connection_;
};

Reply::Reply(Reply&& o) noexcept
    : to_(std::move(o.to_)), head_only_(o.head_only_), sent_(std::exchange(o.sent_, true)) {}

Reply::~Reply() {
  if (!sent_) send(Response::text(500, "the request was not answered\n"));
}

void Reply::send(Response response) {
  if (std::exchange(sent_, true)) return;
  if (auto to = to_.lock(); to && *to) (*to)->respond(response, head_only_);
}

class Server::Listening {
 public:
  Listening(Server& server, int fd, const Address& address)
      : server_(server),
        fd_(fd),
        address_(address),
        op_(&accepted, this),
        retry_(server.loop_.timers(), &retry, this) {
    server_.loop_.accept(op_, fd_);
  }
  ~Listening() {
    if (fd_ >= 0) server_.loop_.close(fd_);
  }

  void stop() {
    stopping_ = true;
    retry_.cancel();
    if (op_.in_flight()) server_.loop_.cancel(op_);
    if (address_.is_pipe() && !address_.path().starts_with('@')) ::unlink(address_.path().c_str());
  }
  bool idle() const { return !op_.in_flight(); }

 private:
  static void accepted(io::Op& op, io::Completion& c) {
    Listening& l = *op.owner<Listening>();
    if (c.result >= 0) {
      if (l.stopping_)
        l.server_.loop_.close_reset(c.result);
      else
        l.server_.accepted(c.result, l.address_);
    }
    if (c.more || l.stopping_) return;
    if (c.result >= 0 || c.result == -ECONNABORTED) return l.server_.loop_.accept(l.op_, l.fd_);
    SLUICE_LOG(admin, warn, "{}: {}", l.address_.to_string(), errno_error(-c.result, "accept").message);
    l.retry_.arm(l.server_.loop_.now() + std::chrono::seconds(1));
  }
  static void retry(io::Timer& timer) {
    Listening& l = *timer.owner<Listening>();
    l.server_.loop_.accept(l.op_, l.fd_);
  }

  Server& server_;
  const int fd_;
  const Address address_;
  bool stopping_ = false;
  io::Op op_;
  io::Timer retry_;
};

Server::Server(io::Loop& loop, const Router& router, Options options)
    : loop_(loop), router_(router), options_(options) {}

Server::~Server() = default;

// A socket file left by a process that is gone is in the way; one that answers belongs to somebody.
static Status clear_socket_file(const Address& address) {
  const std::string path = address.path();
  struct stat st;
  if (path.starts_with('@') || lstat(path.c_str(), &st) != 0) return {};
  if (!S_ISSOCK(st.st_mode))
    return Error{"\"" + path + "\" is there and is not a socket; remove it or choose another path"};
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), address.sockaddr_ptr(), address.len()) == 0 || errno == EAGAIN) {
    return Error{"\"" + path + "\" is in use: another sluiced is running (stop it, or choose another path)",
                 EADDRINUSE};
  }
  if (::unlink(path.c_str()) != 0) return errno_error(errno, "removing the old socket \"" + path + "\"");
  return {};
}

Status Server::listen(const Address& address) {
  const bool file = address.is_pipe() && !address.path().starts_with('@');
  if (file) SLUICE_TRY(clear_socket_file(address));
  SLUICE_ASSIGN(int fd, loop_.open_socket(address.family(), {}));
  auto prepare = [&]() -> Status {
    SLUICE_TRY(loop_.bind(fd, address));
    if (file && ::chmod(address.path().c_str(), 0600) != 0)
      return errno_error(errno, "chmod \"" + address.path() + "\"");
    return loop_.listen(fd, 128);
  };
  if (Status s = prepare(); !s.ok()) {
    loop_.close(fd);
    return std::move(s).error();
  }
  Address bound = address.is_pipe() ? address : loop_.local_address(fd);
  listening_.push_back(std::make_unique<Listening>(*this, fd, bound));
  addresses_.push_back(bound);
  return {};
}

void Server::accepted(int fd, const Address& local) {
  if (connections_.size() >= options_.connections_max) {
    SLUICE_LOG(admin, debug, "{}: closed a connection: {} are open already", local.to_string(),
               connections_.size());
    return loop_.close_reset(fd);
  }
  auto connection = std::make_unique<ServerConnection>(*this, fd, local, ++next_id_);
  ServerConnection* key = connection.get();
  connections_[key] = std::move(connection);
}

void Server::closed(ServerConnection& connection) {
  connections_.erase(&connection);
}

void Server::stop() {
  for (auto& l : listening_) l->stop();
  for (auto& [key, connection] : connections_) connection->finish();
}

bool Server::idle() const {
  for (auto& l : listening_) {
    if (!l->idle()) return false;
  }
  return connections_.empty();
}

}  // namespace sluice::admin
