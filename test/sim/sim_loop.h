#pragma once

#include <map>

#include "io/loop.h"
#include "test/sim/sim_net.h"

namespace sluice::sim {

// The loop's interface on a simulated kernel: completions come late, out of order between operations, in parts, and
// cancel() races with results, as the seed wills. The clock moves only while the loop waits, and a little every turn.
// Descriptors are numbers no real one has, each used once: a stray system call fails, a stale one is noticed.
class SimLoop final : public io::Loop, private Endpoint {
 public:
  explicit SimLoop(SimNet& net);
  ~SimLoop() override;

  void accept(io::Op& op, int listen_fd) override;
  void connect(io::Op& op, int fd, const Address& to) override;
  void recv(io::Op& op, int fd, io::RecvOptions options = {}) override;
  void send(io::Op& op, int fd, std::span<const iovec> iov, int flags = 0) override;
  void poll(io::Op& op, int fd, uint32_t events) override;
  void cancel(io::Op& op) override;
  Result<int> open_socket(int family, const io::SocketOptions& options, int netns_fd = -1) override;
  Status bind(int fd, const Address& address) override;
  Status listen(int fd, int backlog) override;
  void ignore_handshakes(int fd) override;
  Address local_address(int fd) override;
  Address peer_address(int fd) override;
  Status set_options(int fd, const io::SocketOptions& options) override;
  void shutdown_write(int fd) override;
  void close(int fd) override;
  void close_reset(int fd) override;
  WallTime wall_now() override { return net_.wall_now(); }
  void run_once(Duration max_wait) override;
  std::string_view backend_name() const override { return "simulation"; }

  // Turns until `done()`, for at most `limit` of simulated time; false if it never came true.
  bool run_until(const std::function<bool()>& done, Duration limit = std::chrono::minutes(10));

  SimNet& net() { return net_; }
  size_t open_descriptors() const { return open_; }
  const io::SocketOptions& options_of(int fd) { return at(fd).options; }
  int netns_of(int fd) { return at(fd).netns; }
  // From here on sockets have a kernel that can do TLS.
  class SimTls& use_tls();
  // What must not be there once everything has been closed; empty when all is well.
  std::string leftovers() const;

 private:
  friend class SimTls;
  struct Descriptor {
    int fd = -1;
    Socket* socket = nullptr;
    io::Op* in = nullptr;
    io::Op* out = nullptr;
    std::vector<io::Op*> polls;
    io::SocketOptions options;
    int netns = -1;
    size_t sent = 0;  // of the send in flight
    bool started_in = false, started_out = false;
    std::unique_ptr<struct SimTlsState> tls;  // null: bytes go as they are
    Descriptor();
    ~Descriptor();
  };
  struct Done {
    MonotonicTime due;
    io::Op* op;
    int32_t result;
    bool more = false;
    bool nonempty = false;
    Chunk data = {};
  };
  static constexpr int kFirstFd = 1 << 24;

  void changed(Socket& socket) override;
  void incoming(Socket& listener) override { changed(listener); }
  void wake() override {}
  void read_clock() override { now_ = net_.now(); }
  Descriptor& at(int fd);
  Descriptor* of(io::Op& op);  // null: nothing of that kind is in flight
  int adopt(Socket& socket);
  void begin(io::Op& op, io::Op::Kind kind, int fd);
  void start(io::Op& op, std::function<void()> then);
  void attempt(Descriptor& d);
  void attempt_accept(Descriptor& d);
  void attempt_recv(Descriptor& d);
  void attempt_send(Descriptor& d);
  void attempt_tls_send(Descriptor& d);
  void attempt_connect(Descriptor& d);
  void attempt_polls(Descriptor& d);
  void cancelled(io::Op& op, uint64_t serial);
  void detach(io::Op& op);
  Done& done(io::Op& op, int32_t result);
  void sleep(Duration max_wait);
  bool any_due() const;
  [[noreturn]] void fail(const std::string& what) const;

  SimNet& net_;
  std::vector<std::unique_ptr<Descriptor>> descriptors_;  // by number; null: closed
  size_t open_ = 0;
  std::map<io::Op*, uint64_t> live_;  // operations the kernel has, by start; looked up only, never walked
  uint64_t serial_ = 0;
  std::vector<Done> done_;  // in the order they happened
};

}  // namespace sluice::sim
