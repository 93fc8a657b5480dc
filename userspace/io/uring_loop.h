#pragma once

#include <liburing.h>

#include <deque>

#include "io/buffer_ring.h"
#include "io/sockets.h"
#include "io/spin.h"

namespace sluice::io {

// io_uring, Linux 6.0 and later: everything that a turn starts enters the kernel with the call that waits for the next.
class UringLoop final : public SocketLoop {
 public:
  static Result<std::unique_ptr<Loop>> create(const LoopOptions& options);
  ~UringLoop() override;

  void accept(Op& op, int listen_fd) override;
  void connect(Op& op, int fd, const Address& to) override;
  void recv(Op& op, int fd, RecvOptions options = {}) override;
  void send(Op& op, int fd, std::span<const iovec> iov, int flags = 0) override;
  void poll(Op& op, int fd, uint32_t events) override;
  void cancel(Op& op) override;
  void close(int fd) override;
  void run_once(Duration max_wait) override;
  size_t blocks_outstanding() const override { return blocks_.outstanding() + buffers_.outstanding(); }
  std::string_view backend_name() const override { return "io_uring"; }

 private:
  // A completion whose callback has not run yet.
  struct Done {
    Op* op;
    int32_t result;
    uint32_t flags;
  };

  explicit UringLoop(const LoopOptions& options) : spin_(options.spin) {}
  Status init(const LoopOptions& options);
  void leave() override;
  void enable();  // on the loop's thread, before the first entry into the kernel
  io_uring_sqe* sqe();
  void begin(Op& op, Op::Kind kind, int fd);
  void submit_accept(Op& op);
  void submit_recv(Op& op);
  void submit_wake();
  void flush();
  void wait(Duration max_wait);
  bool spin(Duration most);
  void collect();
  void finish(const Done& done);
  void finish_accept(const Done& done);
  void finish_recv(const Done& done);
  void no_buffer(Op& op);
  void complete(Op& op, Completion& completion);

  BufferRing buffers_;  // outlives ring_: the kernel fills it until the ring is gone
  io_uring ring_{};
  bool has_ring_ = false;
  bool enabled_ = false;
  pid_t thread_ = 0;
  bool in_turn_ = false;
  uint64_t wake_count_ = 0;  // the kernel writes it
  std::deque<Address> connecting_;  // until submitted
  std::vector<Done> batch_;
  Spin spin_;
};

}  // namespace sluice::io
