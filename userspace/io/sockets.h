#pragma once

#include <sys/types.h>

#include "core/fd.h"
#include "io/loop.h"

namespace sluice::io {

// Which network namespace this thread opens sockets in. One per loop, used on the loop's thread only.
class ThreadNetns {
 public:
  // netns_fd -1: the thread's own. Stays where it is on error; not finding the way home is fatal.
  Status enter(int netns_fd);
  void go_home() {
    if (away_) return_home();
  }

 private:
  void return_home();
  Fd home_;
  dev_t dev_ = 0;
  ino_t ino_ = 0;
  bool away_ = false;
};

// What the backends on a real kernel have in common.
class SocketLoop : public Loop {
 public:
  Result<int> open_socket(int family, const SocketOptions& options, int netns_fd = -1) override;
  void leave_netns() override { netns_.go_home(); }
  Status bind(int fd, const Address& address) override;
  Status listen(int fd, int backlog) override;
  void ignore_handshakes(int fd) override;
  Address local_address(int fd) override;
  Address peer_address(int fd) override;
  Status set_options(int fd, const SocketOptions& options) override;
  static Status set_options(int fd, int family, const SocketOptions& options);
  void shutdown_write(int fd) override;
  void close_reset(int fd) override;
  WallTime wall_now() override;

 protected:
  SocketLoop();
  void wake() override;
  void read_clock() override;

  ThreadNetns netns_;
  Fd event_fd_;  // blocking: io_uring would answer EAGAIN at once on another
};

// accept(2): the connection died in the queue or its network has trouble; the listener is fine, go on.
bool accept_error_is_transient(int error);

}  // namespace sluice::io
