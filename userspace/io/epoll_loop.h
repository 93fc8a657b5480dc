#pragma once

#include <sys/epoll.h>

#include "io/sockets.h"
#include "io/spin.h"

namespace sluice::io {

// The loop's interface by readiness, where io_uring is forbidden. Edge-triggered: a descriptor is registered once, and
// what an edge said is remembered until a call answers EAGAIN.
class EpollLoop final : public SocketLoop {
 public:
  static Result<std::unique_ptr<Loop>> create(const LoopOptions& options);
  ~EpollLoop() override;

  void accept(Op& op, int listen_fd) override;
  void connect(Op& op, int fd, const Address& to) override;
  void recv(Op& op, int fd, RecvOptions options = {}) override;
  void send(Op& op, int fd, std::span<const iovec> iov, int flags = 0) override;
  void poll(Op& op, int fd, uint32_t events) override;
  void cancel(Op& op) override;
  void close(int fd) override;
  Result<int> open_socket(int family, const SocketOptions& options, int netns_fd = -1) override;
  void run_once(Duration max_wait) override;
  std::string_view backend_name() const override { return "epoll"; }

 private:
  // What is known of a descriptor.
  struct Descriptor {
    Op* in = nullptr;  // accept, recv
    Op* out = nullptr;  // connect, send
    OpList polls;
    bool registered = false;
    bool readable = true;  // worth a try: no EAGAIN since the last edge
    bool writable = true;
    bool ended = false;  // an edge told of the end or an error: a short receive does not mean "empty"
    bool idle() const { return !in && !out && polls.empty(); }
  };
  struct Done {
    Op* op;
    int32_t result;
    bool more = false;
    bool nonempty = false;
    Chunk data = {};
  };

  explicit EpollLoop(const LoopOptions& options) : spin_(options.spin) {}
  Descriptor& at(int fd);
  void begin(Op& op, Op::Kind kind, int fd);
  // Listens for edges of fd; `again`: report the present state too. False where the descriptor cannot be polled.
  bool watch(int fd, bool again);
  void ready(Op& op);
  void on_edge(int fd, uint32_t events);
  void wait(Duration max_wait);
  int spin(epoll_event* events, Duration most);
  void attempt(Op& op);
  void attempt_accept(Op& op, Descriptor& d);
  void attempt_recv(Op& op, Descriptor& d);
  void attempt_send(Op& op, Descriptor& d);
  void attempt_connect(Op& op, Descriptor& d);
  void attempt_poll(Op& op);
  void attempt_ready();
  void detach(Op& op);  // it will not be tried again
  void done(Op& op, int32_t result);

  Fd epoll_fd_;
  std::vector<Descriptor> descriptors_;
  OpList ready_;
  std::vector<Done> batch_;
  Spin spin_;
  unsigned unpolled_turns_ = 0;
  bool in_turn_ = false;
};

}  // namespace sluice::io
