#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/address.h"
#include "core/random.h"
#include "core/time.h"

// A TCP/IP network and the clock of a simulated machine. Everything that a real one leaves to chance is drawn from a
// seed; one seed is one history.
namespace sluice::sim {

// Chances are in 1000.
struct Faults {
  uint32_t partial = 0;  // a receive or a send takes fewer bytes than it could
  uint32_t late = 0;  // the loop hears of a completion later than it happened
  uint32_t slow_start = 0;  // an operation reaches the kernel late, or waits for a receive buffer
  uint32_t lose_on_reset = 0;  // a reset overtakes the bytes sent before it
  uint32_t no_descriptors = 0;  // EMFILE from open_socket and accept
  Duration latency_min = std::chrono::microseconds(10);  // of one segment, one way
  Duration latency_max = std::chrono::microseconds(200);
  size_t window_min = 256 * 1024;  // bytes on their way and unread, one direction
  size_t window_max = 256 * 1024;

  static Faults random(Random& random);  // a mixture, different for each seed
};

struct Socket;

// What happens on a socket is told to who uses it: the simulated loop, or a scripted peer.
class Endpoint {
 public:
  virtual void changed(Socket& socket) = 0;
  // A connection waits at a listening socket of this endpoint: accept() it now or later.
  virtual void incoming(Socket& listener) = 0;

 protected:
  ~Endpoint() = default;
};

struct Socket {
  enum class State : uint8_t { fresh, bound, listening, connecting, connected, failed, closed };
  uint32_t id = 0;
  State state = State::fresh;
  Endpoint* endpoint = nullptr;
  void* user = nullptr;  // the endpoint's own
  int family = 0;
  Address local, remote;
  Socket* peer = nullptr;
  bool reuse_port = false;
  bool ignores_handshakes = false;  // a listener: SYNs are lost
  std::deque<Socket*> backlog;  // listening

  std::string received;  // not read yet: from `read_offset`
  size_t read_offset = 0;
  bool end_received = false;  // FIN
  bool reset_received = false;
  int error = 0;  // errno, told once

  size_t window = 0;  // most bytes that may be between write() and the other's read()
  size_t unread_by_peer = 0;
  bool end_sent = false;  // FIN
  bool reset_sent = false;
  uint32_t epoch = 0;  // segments of an earlier one are lost
  MonotonicTime last_arrival{};  // of what this one sent

  size_t readable_bytes() const { return received.size() - read_offset; }
  bool readable() const {
    return readable_bytes() > 0 || end_received || reset_received || error || !backlog.empty();
  }
  size_t writable_bytes() const { return window > unread_by_peer ? window - unread_by_peer : 0; }
};

class SimNet {
 public:
  explicit SimNet(uint64_t seed, const Faults& faults = {});
  SimNet(const SimNet&) = delete;

  uint64_t seed() const { return seed_; }
  Random& random() { return random_; }
  Faults& faults() { return faults_; }
  bool chance(uint32_t in_1000) { return in_1000 != 0 && random_.chance(in_1000, 1000); }
  Duration between(Duration low, Duration high);

  // ---- time ----
  MonotonicTime now() const { return now_; }
  WallTime wall_now() const;
  void after(Duration delay, std::function<void()> fn);
  MonotonicTime next_event() const;  // max() when nothing will happen any more
  // Moves the clock and runs all events due by then.
  void advance_to(MonotonicTime time);

  // ---- places one cannot connect to; everywhere else where nobody listens refuses ----
  void blackhole(const Address& to) { special_[to] = ETIMEDOUT; }  // ETIMEDOUT after 127 s
  void unreachable(const Address& to) { special_[to] = EHOSTUNREACH; }  // at once

  // ---- sockets ----
  Socket& create(Endpoint* endpoint, int family);
  int bind(Socket& s, const Address& to);  // 0 or errno
  int listen(Socket& s);  // 0 or errno
  // Outcome: changed() with state connected or failed (and `error`). `via`: reaches the socket listening there while
  // both ends see `to`, as sk_lookup does.
  void connect(Socket& s, const Address& to, const Address& via = {});
  Socket* accept(Socket& listener);  // null: nothing waits
  size_t write(Socket& s, const char* bytes, size_t n);  // returns how many the window allowed
  size_t read(Socket& s, char* into, size_t n);
  void finish(Socket& s);  // FIN after what was written
  void reset(Socket& s);
  void close(Socket& s);  // FIN, or RST where something was left unread
  int take_error(Socket& s) { return std::exchange(s.error, 0); }

  // ---- the last things that happened, for the report of a failure ----
  void trace(const char* what, uint64_t a = 0, int64_t b = 0);
  std::string trace_tail() const;

 private:
  struct Event {
    MonotonicTime time;
    uint64_t sequence;
    std::function<void()> fn;
    bool operator<(const Event& o) const { return time != o.time ? time > o.time : sequence > o.sequence; }
  };
  struct Traced {
    MonotonicTime time;
    const char* what;
    uint64_t a;
    int64_t b;
  };
  static constexpr size_t kTraced = 256;

  Duration latency() { return between(faults_.latency_min, faults_.latency_max); }
  MonotonicTime arrival(Socket& from);  // in order
  void at(MonotonicTime time, std::function<void()> fn);
  Socket* find_listener(const Address& to);
  void send_syn(Socket& s, const Address& to, const Address& target);
  void fail_connect(Socket& s, int error);
  void arrive(Socket& from, Socket& to, const std::string& bytes);
  void arrive_end(Socket& to);
  void arrive_reset(Socket& to);
  void notify(Socket& s) {
    if (s.endpoint && s.state != Socket::State::closed) s.endpoint->changed(s);
  }
  Address ephemeral(int family);

  uint64_t seed_;
  Random random_;
  Faults faults_;
  MonotonicTime now_;
  uint64_t sequence_ = 0;
  std::vector<Event> events_;  // a heap
  std::vector<std::unique_ptr<Socket>> sockets_;  // all there ever were
  std::vector<Socket*> listeners_;
  std::unordered_map<Address, int> special_;
  uint16_t next_port_ = 32768;
  std::vector<Traced> traced_;  // a ring
  size_t traced_next_ = 0;
};

}  // namespace sluice::sim
