#include "test/sim/sim_net.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sluice::sim {
namespace {

constexpr Duration kSynTimeout = std::chrono::seconds(1);  // until a SYN is sent again; once is enough here
constexpr Duration kConnectTimeout = std::chrono::seconds(127);  // Linux: tcp_syn_retries 6

}  // namespace

Faults Faults::random(Random& r) {
  auto level = [&r](uint32_t max) { return r.chance(1, 3) ? 0 : static_cast<uint32_t>(r.below(max)); };
  Faults f;
  f.partial = level(700);
  f.late = level(400);
  f.slow_start = level(300);
  f.lose_on_reset = level(1000);
  f.no_descriptors = r.chance(1, 4) ? level(100) : 0;
  f.latency_max =
      f.latency_min + Duration(std::chrono::microseconds(r.below(2) ? r.below(100) : r.below(20'000)));
  f.window_min = 1 + r.below(2) * r.below(4096);
  f.window_max = f.window_min + (r.below(2) ? r.below(8192) : r.below(256 * 1024));
  return f;
}

SimNet::SimNet(uint64_t seed, const Faults& faults)
    : seed_(seed), random_(seed), faults_(faults), now_(std::chrono::seconds(1'000'000)) {}

Duration SimNet::between(Duration low, Duration high) {
  return high <= low ? low : low + Duration(random_.below(static_cast<uint64_t>((high - low).count()) + 1));
}

WallTime SimNet::wall_now() const {
  return WallTime(std::chrono::seconds(1'767'225'600)) +
         (now_ - MonotonicTime(std::chrono::seconds(1'000'000)));
}

void SimNet::at(MonotonicTime time, std::function<void()> fn) {
  events_.push_back({std::max(time, now_), ++sequence_, std::move(fn)});
  std::push_heap(events_.begin(), events_.end());
}

void SimNet::after(Duration delay, std::function<void()> fn) {
  at(now_ + delay, std::move(fn));
}

MonotonicTime SimNet::next_event() const {
  return events_.empty() ? MonotonicTime::max() : events_.front().time;
}

void SimNet::advance_to(MonotonicTime time) {
  while (!events_.empty() && events_.front().time <= time) {
    std::pop_heap(events_.begin(), events_.end());
    Event e = std::move(events_.back());
    events_.pop_back();
    now_ = std::max(now_, e.time);
    e.fn();
  }
  now_ = std::max(now_, time);
}

// ---- sockets ----

Socket& SimNet::create(Endpoint* endpoint, int family) {
  auto& s = *sockets_.emplace_back(std::make_unique<Socket>());
  s.id = static_cast<uint32_t>(sockets_.size());
  s.endpoint = endpoint;
  s.family = family;
  s.window = faults_.window_min + random_.below(faults_.window_max - faults_.window_min + 1);
  return s;
}

Address SimNet::ephemeral(int family) {
  if (++next_port_ == 0) next_port_ = 32768;
  return family == AF_INET6 ? Address(*IpAddress::parse("::1"), next_port_)
                            : Address(*IpAddress::parse("127.0.0.1"), next_port_);
}

int SimNet::bind(Socket& s, const Address& to) {
  if (s.state != Socket::State::fresh) return EINVAL;
  if (to.family() != s.family) return EAFNOSUPPORT;
  s.local = to.is_ip() && to.port() == 0 ? to.with_port(++next_port_) : to;
  for (Socket* l : listeners_)
    if (l->local == s.local && !(l->reuse_port && s.reuse_port)) return EADDRINUSE;
  s.state = Socket::State::bound;
  return 0;
}

int SimNet::listen(Socket& s) {
  if (s.state != Socket::State::bound) return EINVAL;
  for (Socket* l : listeners_)
    if (l->local == s.local && !(l->reuse_port && s.reuse_port)) return EADDRINUSE;
  s.state = Socket::State::listening;
  listeners_.push_back(&s);
  trace("listen", s.id, s.local.port());
  return 0;
}

Socket* SimNet::find_listener(const Address& to) {
  std::vector<Socket*> found;
  for (Socket* l : listeners_)
    if (l->local == to) found.push_back(l);
  if (found.empty())
    for (Socket* l : listeners_)
      if (l->local.is_ip() && l->local.port() == to.port() && l->local.ip().is_any() &&
          (l->family == to.family() || l->family == AF_INET6))
        found.push_back(l);
  return found.empty() ? nullptr : found[random_.below(found.size())];
}

void SimNet::fail_connect(Socket& s, int error) {
  if (s.state != Socket::State::connecting) return;
  trace("connect failed", s.id, error);
  s.state = Socket::State::failed;
  s.error = error;
  notify(s);
}

void SimNet::connect(Socket& s, const Address& to, const Address& via) {
  assert(s.state == Socket::State::fresh || s.state == Socket::State::bound);
  s.state = Socket::State::connecting;
  s.remote = to;
  if (!s.local.valid()) s.local = ephemeral(to.family());
  trace("connect", s.id, to.port());
  // A redirected call never reaches the place it names.
  if (auto it = special_.find(to); it != special_.end() && !via.valid()) {
    const int error = it->second;
    return after(error == ETIMEDOUT ? kConnectTimeout : Duration(0),
                 [this, &s, error] { fail_connect(s, error); });
  }
  send_syn(s, to, via.valid() ? via : to);
}

void SimNet::send_syn(Socket& s, const Address& to, const Address& target) {
  after(latency(), [this, &s, to, target] {
    if (s.state != Socket::State::connecting) return;
    Socket* listener = find_listener(target);
    if (!listener) return after(latency(), [this, &s] { fail_connect(s, ECONNREFUSED); });
    if (listener->ignores_handshakes)
      return after(kSynTimeout, [this, &s, to, target] { send_syn(s, to, target); });
    Socket& server = create(listener->endpoint, to.family());
    server.state = Socket::State::connecting;
    server.local = to;
    server.remote = s.local;
    after(latency(), [this, &s, &server, listener] {  // SYN-ACK
      if (s.state != Socket::State::connecting) {  // given up meanwhile
        server.state = Socket::State::closed;
        return;
      }
      s.state = Socket::State::connected;
      s.peer = &server;
      server.peer = &s;
      server.state = Socket::State::connected;
      // What the caller sends arrives after the connection itself.
      at(arrival(s), [this, &server, listener] {
        if (listener->state != Socket::State::listening) return reset(server);
        trace("incoming", listener->id, server.id);
        listener->backlog.push_back(&server);
        listener->endpoint->incoming(*listener);
      });
      trace("connected", s.id, server.id);
      notify(s);
    });
  });
}

Socket* SimNet::accept(Socket& listener) {
  if (listener.backlog.empty()) return nullptr;
  Socket* s = listener.backlog.front();
  listener.backlog.pop_front();
  return s;
}

MonotonicTime SimNet::arrival(Socket& from) {
  return from.last_arrival = std::max(from.last_arrival, now_ + latency());
}

size_t SimNet::write(Socket& s, const char* bytes, size_t n) {
  assert(s.state == Socket::State::connected && !s.end_sent && !s.reset_sent);
  n = std::min(n, s.writable_bytes());
  if (n == 0) return 0;
  s.unread_by_peer += n;
  trace("write", s.id, static_cast<int64_t>(n));
  at(arrival(s), [this, &s, epoch = s.epoch, text = std::string(bytes, n)] {
    if (epoch == s.epoch) arrive(s, *s.peer, text);
  });
  return n;
}

void SimNet::arrive(Socket& from, Socket& to, const std::string& bytes) {
  if (to.state == Socket::State::closed) {  // nobody is there to read: reset
    if (!to.reset_sent && !to.reset_received) reset(to);
    return;
  }
  if (to.reset_received) return;
  trace("arrive", to.id, static_cast<int64_t>(bytes.size()));
  to.received += bytes;
  notify(to);
}

size_t SimNet::read(Socket& s, char* into, size_t n) {
  n = std::min(n, s.readable_bytes());
  std::memcpy(into, s.received.data() + s.read_offset, n);
  s.read_offset += n;
  if (s.read_offset == s.received.size()) {
    s.received.clear();
    s.read_offset = 0;
  } else if (s.read_offset > s.received.size() / 2) {
    s.received.erase(0, s.read_offset);
    s.read_offset = 0;
  }
  trace("read", s.id, static_cast<int64_t>(n));
  if (n > 0)
    after(latency(), [this, n, peer = s.peer] {  // the window opens
      peer->unread_by_peer -= n;
      notify(*peer);
    });
  return n;
}

void SimNet::finish(Socket& s) {
  if (s.state != Socket::State::connected || s.end_sent || s.reset_sent || s.reset_received) return;
  s.end_sent = true;
  trace("finish", s.id);
  at(arrival(s), [this, &s, epoch = s.epoch] {
    if (epoch == s.epoch) arrive_end(*s.peer);
  });
}

void SimNet::arrive_end(Socket& to) {
  if (to.reset_received || to.end_received) return;
  trace("end arrives", to.id);
  to.end_received = true;
  notify(to);
}

void SimNet::reset(Socket& s) {
  if (s.reset_sent || s.reset_received || !s.peer) {
    s.state = Socket::State::closed;
    return;
  }
  trace("reset", s.id);
  s.reset_sent = true;
  s.state = Socket::State::closed;
  if (chance(faults_.lose_on_reset)) {
    ++s.epoch;  // overtaken
    s.last_arrival = now_;
  }
  at(arrival(s), [this, &s] { arrive_reset(*s.peer); });
}

void SimNet::arrive_reset(Socket& to) {
  if (to.reset_received) return;
  trace("reset arrives", to.id);
  to.reset_received = true;
  ++to.epoch;  // what it had on its way goes nowhere
  // As Linux: after a FIN the connection is only half there.
  if (to.state != Socket::State::closed) to.error = to.end_received ? EPIPE : ECONNRESET;
  notify(to);
}

void SimNet::close(Socket& s) {
  trace("close", s.id);
  switch (s.state) {
    case Socket::State::listening:
      std::erase(listeners_, &s);
      s.state = Socket::State::closed;
      while (Socket* waiting = accept(s)) reset(*waiting);
      break;
    case Socket::State::connected:
      if (s.readable_bytes() > 0) {
        reset(s);
      } else {
        finish(s);
      }
      break;
    default:
      break;
  }
  s.state = Socket::State::closed;
}

// ---- trace ----

void SimNet::trace(const char* what, uint64_t a, int64_t b) {
  if (traced_.size() < kTraced) {
    traced_.push_back({now_, what, a, b});
  } else {
    traced_[traced_next_++ % kTraced] = {now_, what, a, b};
  }
}

std::string SimNet::trace_tail() const {
  std::string text;
  for (size_t i = 0; i < traced_.size(); ++i) {
    const Traced& t = traced_[(traced_next_ + i) % traced_.size()];
    char line[160];
    snprintf(line, sizeof line, "%14.6f ms  %-24s #%llu  %lld\n",
             std::chrono::duration<double, std::milli>(t.time.time_since_epoch()).count() - 1e9, t.what,
             static_cast<unsigned long long>(t.a), static_cast<long long>(t.b));
    text += line;
  }
  return text;
}

}  // namespace sluice::sim
