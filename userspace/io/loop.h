#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/buffer.h"
#include "core/result.h"
#include "core/time.h"
#include "io/op.h"
#include "io/timers.h"

namespace sluice::io {

// Runs at the end of the turn in which it was scheduled, after every callback of that turn, once: this is where a
// connection sends everything that the turn has produced in one go. Hooks scheduled by hooks run in the same turn; one
// that has run already in it runs in the next. Embedded in its owner.
class TurnEnd {
 public:
  using Callback = void (*)(TurnEnd& hook);
  TurnEnd(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  TurnEnd(const TurnEnd&) = delete;
  TurnEnd& operator=(const TurnEnd&) = delete;
  ~TurnEnd();  // unschedules
  bool scheduled() const { return loop_ != nullptr; }
  template <typename T>
  T* owner() const {
    return static_cast<T*>(owner_);
  }

 private:
  friend class Loop;
  Callback callback_;
  void* owner_;
  Loop* loop_ = nullptr;
  TurnEnd* next_ = nullptr;
  TurnEnd* prev_ = nullptr;
  uint64_t ran_ = 0;  // the hook phase it ran in last
};

// Something freed at the end of a loop turn, so that a callback may let go of its own caller.
class Deferred {
 public:
  virtual ~Deferred() = default;
};

struct SocketOptions {
  bool transparent = false;  // IP_TRANSPARENT
  bool freebind = false;  // IP_FREEBIND
  bool reuse_port = false;  // SO_REUSEPORT
  bool v6_only = false;  // IPV6_V6ONLY
  bool bind_address_no_port = false;  // IP_BIND_ADDRESS_NO_PORT
  bool no_delay = true;  // TCP_NODELAY, where it is TCP
  uint32_t mark = 0;  // SO_MARK; 0: none
  struct KeepAlive {
    bool enabled = false;
    uint32_t probes = 0, time_s = 0, interval_s = 0;  // 0: the system's
    bool operator==(const KeepAlive&) const = default;
  } keep_alive;
  struct Raw {
    int level, name;
    std::string value;  // the option's bytes
    bool operator==(const Raw&) const = default;
  };
  std::vector<Raw> raw;  // Envoy's socket_options
  bool operator==(const SocketOptions&) const = default;
};

// Of the kernel's TLS (io/kernel_tls.h), as found and decided at start.
struct KernelTlsUse {
  bool use = false;
  bool renews = false;  // keys can be replaced
  bool devices_only = false;  // for connections that a network device may encrypt, while that proves true
  uint64_t netns_cookie = 0;  // devices_only: the network namespace whose devices they are
};
class KernelTls;

// A flag of Loop::send(): it may end when a part is sent. The kernel's TLS knows no MSG_WAITALL.
inline constexpr int kMayBeShort = 1 << 30;

struct RecvOptions {
  // The sender is known to be sending much: receive into a large block of our own. Otherwise data lands in a shared
  // buffer only when it arrives, so that an idle connection holds none.
  bool bulk = false;
};

// One thread's event loop, completion-based. Backends: io_uring, epoll (where io_uring is forbidden) and simulation.
// Everything here but post() and stop() belongs to the loop's thread. Submitting calls never run callbacks.
class Loop {
 public:
  virtual ~Loop();

  // ---- operations; each completes exactly once (accept: until `more` is false), also after cancel() ----

  // Accepts until cancelled or failed. result: a descriptor (non-blocking, close-on-exec). A connection that died before
  // it was accepted is skipped; -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM end the operation: start it again later. After
  // cancel() descriptors may still come, each with `more`, before -ECANCELED.
  virtual void accept(Op& op, int listen_fd) = 0;
  // result: 0 or -errno (ECONNREFUSED, ETIMEDOUT, ...). `to` is copied.
  virtual void connect(Op& op, int fd, const Address& to) = 0;
  // result: bytes in completion.data, 0 at end of stream, -errno. Short receives are normal. One at a time on an fd.
  virtual void recv(Op& op, int fd, RecvOptions options = {}) = 0;
  // Sends all of `iov` (array and bytes live until completion); flags: MSG_MORE, kMayBeShort. result: bytes sent, fewer
  // than asked only if an error or cancel() came in between, or by that flag; -errno if nothing was sent. One at a time
  // on an fd.
  virtual void send(Op& op, int fd, std::span<const iovec> iov, int flags = 0) = 0;
  // Waits for poll(2) events once. result: events.
  virtual void poll(Op& op, int fd, uint32_t events) = 0;
  // Asks for an early end; the completion still comes (-ECANCELED, or the result that was faster).
  virtual void cancel(Op& op) = 0;

  // ---- sockets (here, so that simulation can stand in) ----
  // Opens a non-blocking stream socket; `netns_fd` >= 0 opens it in that network namespace. (The thread stays there
  // until the turn ends or the next socket is opened elsewhere: open every socket of this thread through here.)
  virtual Result<int> open_socket(int family, const SocketOptions& options, int netns_fd = -1) = 0;
  // open_socket leaves the thread where it was sent last, so that the next socket there costs nothing. A thread that
  // also makes sockets by other means (a resolver's, say) goes home first.
  virtual void leave_netns() {}
  virtual Status bind(int fd, const Address& address) = 0;
  virtual Status listen(int fd, int backlog) = 0;
  // A listening TCP socket answers no SYN any more, but finishes the handshakes it has begun: what is closed a moment later
  // resets nobody. The client sends its SYN again after a second, to whoever listens there then.
  virtual void ignore_handshakes(int fd) = 0;
  virtual Address local_address(int fd) = 0;  // getsockname; invalid Address on error
  virtual Address peer_address(int fd) = 0;  // getpeername
  virtual Status set_options(int fd, const SocketOptions& options) = 0;
  virtual void shutdown_write(int fd) = 0;  // FIN after what was sent
  // Closes; may be carried out at the end of the turn. No operation on fd may be in flight. Descriptors that operations
  // were started on are closed here and nowhere else: a backend keeps state by descriptor. (A listening or polled one
  // may be closed elsewhere once its operation has completed.)
  virtual void close(int fd) = 0;
  // Closes with RST (SO_LINGER 0).
  virtual void close_reset(int fd) = 0;
  // Null: records are written here, not by the kernel.
  KernelTls* kernel_tls() const { return kernel_tls_.get(); }
  void set_kernel_tls(std::unique_ptr<KernelTls> kernel_tls);

  // ---- time ----
  MonotonicTime now() const { return now_; }  // as of this turn
  virtual WallTime wall_now() = 0;
  Timers& timers() { return timers_; }

  BlockPool& blocks() { return blocks_; }
  // Blocks that somebody holds: blocks() and the backend's shared receive buffers.
  virtual size_t blocks_outstanding() const { return blocks_.outstanding(); }
  size_t ops_in_flight() const { return ops_in_flight_; }

  // ---- the turn ----
  void schedule(TurnEnd& hook);  // no effect if scheduled already
  // For work that takes as long as hundreds of others' together (a handshake's signature): first come, first served, but
  // no more than a few of them a turn, so that everybody else goes on being served in between.
  void schedule_slow(TurnEnd& hook);
  void defer_delete(std::unique_ptr<Deferred> object);

  // From any thread: runs `fn` on the loop's thread. Not for the data path.
  void post(std::function<void()> fn);
  // Runs turns until stop(). A loop belongs to the thread that first runs it.
  void run();
  // One turn: waits at most `max_wait` (and no longer than the next timer), then runs what is ready.
  virtual void run_once(Duration max_wait) = 0;
  void stop();  // from any thread

  virtual std::string_view backend_name() const = 0;

 protected:
  Loop();
  // For backends. A turn: begin_wait(), wait, end_wait(), callbacks of what completed, end_turn().
  //
  // How long to sleep: zero where work waits already (hooks, posted functions, a stop). Until end_wait() another thread
  // that posts calls wake().
  Duration begin_wait(Duration max_wait);
  void end_wait() { asleep_.store(false, std::memory_order_relaxed); }
  void end_turn();  // due timers, hooks until none, inbox, hooks again, deferred deletes
  virtual void wake() = 0;  // from any thread: makes run_once return soon
  virtual void read_clock() = 0;  // sets now_
  virtual void leave() {}  // run() returns: carry out what was put off
  // Lets go of what others left here while the backend still works; first thing in a backend's destructor.
  void drop_work();

  MonotonicTime now_{};
  Timers timers_;
  BlockPool blocks_;
  size_t ops_in_flight_ = 0;

 private:
  friend class TurnEnd;
  struct Inbox;
  struct Hooks {
    TurnEnd* head = nullptr;
    TurnEnd* tail = nullptr;
  };
  static void link(Hooks& list, TurnEnd& hook);
  void unlink(TurnEnd& hook);
  void run_hooks();
  void run_slow_hooks();

  std::unique_ptr<Inbox> inbox_;
  std::unique_ptr<KernelTls> kernel_tls_;
  std::atomic<bool> asleep_{false};
  std::atomic<bool> stopping_{false};
  Hooks hooks_;
  Hooks next_turn_;  // have run in this turn and were scheduled again
  Hooks slow_;
  bool running_hooks_ = false;
  uint64_t hook_phase_ = 0;
  std::vector<std::unique_ptr<Deferred>> deferred_;
};

struct LoopOptions {
  enum class Backend : uint8_t { automatic, io_uring, epoll };
  Backend backend = Backend::automatic;  // automatic: io_uring, else epoll with one warning that says why
  unsigned ring_entries = 1024;
  unsigned receive_buffers = 64;  // initial shared 16 KiB receive buffers; grows by need up to the maximum
  unsigned receive_buffers_max = 4096;  // beyond it receives cost more, but nobody waits for another's buffer
  // Most time to look for completions before sleeping, where it has proved to pay; 0: never. See io/spin.h.
  Duration spin = std::chrono::microseconds(50);
  KernelTlsUse kernel_tls = {};
};

Result<std::unique_ptr<Loop>> make_loop(const LoopOptions& options);

}  // namespace sluice::io
