#include "proxy/worker.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/log.h"
#include "proxy/downstream.h"

namespace sluice::proxy {
namespace {

// After EMFILE, ENFILE or ENOBUFS: accepting again at once would spin. The backlog holds the clients meanwhile.
constexpr Duration kAcceptPause = std::chrono::milliseconds(50);

// A host that is short of descriptors stays so for a while: it is said once a second, not once a try.
constexpr Duration kAcceptWarningInterval = std::chrono::seconds(1);

// Free large buffers are kept for so long after a connection has ended.
constexpr Duration kTrimAfter = std::chrono::seconds(1);

// How a socket that is to be closed resets nobody. It goes on for a moment as it was; then SYNs get no answer (the client
// sends another after a second, to who has taken over), while handshakes under way come to their end and are accepted; then
// there is nothing left on it. Longer than a round trip between pods, shorter than anybody waits for a proxy to end.
constexpr Duration kLastCall = std::chrono::milliseconds(2);
constexpr Duration kLastHandshakes = std::chrono::milliseconds(20);

uint64_t cookie_of(const ListenSocket& s) {
  return s.workload ? s.workload->netns_cookie : 0;
}

}  // namespace

struct Worker::Socket {
  Socket(Worker& w, ListenSocket s)
      : worker(w),
        listen(std::move(s)),
        op(&Worker::accepted, this),
        retry(w.loop().timers(), &resume, this),
        last_call(w.loop().timers(), &stop, this) {}
  static void resume(io::Timer& t) {
    Socket& s = *t.owner<Socket>();
    s.worker.loop_.accept(s.op, s.listen.fd);
  }
  static void stop(io::Timer& t) {
    Socket& s = *t.owner<Socket>();
    if (!std::exchange(s.ignoring, true)) {
      s.worker.loop_.ignore_handshakes(s.listen.fd);
      return t.arm(s.worker.loop_.now() + kLastHandshakes);
    }
    s.retry.cancel();
    if (!s.op.in_flight()) s.worker.loop_.accept(s.op, s.listen.fd);  // its end is the socket's
    s.worker.loop_.cancel(s.op);
  }

  Worker& worker;
  ListenSocket listen;
  std::shared_ptr<ListenerRuntime> runtime;
  io::Op op;
  io::Timer retry, last_call;
  MonotonicTime next_warning{};
  bool closing = false;
  bool ignoring = false;  // new handshakes, the last thing before the end
  Backlog backlog = Backlog::reset;  // while closing
};

Worker::Worker(io::Loop& loop, stats::Store& store, const Options& options, const MakeClusters& make_clusters)
    : loop_(loop),
      store_(store),
      options_(options),
      random_(options.seed),
      drainer_(*this),
      trim_timer_(loop.timers(), &trim, this) {
  clusters_ = make_clusters(*this);
}

Worker::~Worker() {
  assert(idle());
}

void Worker::put_listener(const std::shared_ptr<const model::Listener>& listener, const DrainPlan& drain) {
  const ListenerPtr before = listeners_.by_name(*listener->name);
  auto runtime =
      std::make_shared<ListenerRuntime>(listener, stats_root(), loop_, options_.index, before.get());
  listeners_.put(runtime);
  if (!before) return;
  for (auto& s : sockets_) {
    if (s->runtime != before) continue;
    s->runtime = runtime;
    s->listen.listener = listener;
  }
  drainer_.begin(before->chains_not_in(runtime.get()), drain);
}

void Worker::remove_listener(const std::string& name, const DrainPlan& drain) {
  const ListenerPtr gone = listeners_.remove(name);
  if (!gone) return;
  close_sockets([&](const ListenSocket& s) { return s.listener == gone->config; }, Backlog::serve);
  drainer_.begin(gone->chains_not_in(nullptr), drain);
}

void Worker::add_socket(ListenSocket socket) {
  auto s = std::make_unique<Socket>(*this, std::move(socket));
  s->runtime = listeners_.by_name(*s->listen.listener->name);
  assert(s->runtime && "the listener was put");
  loop_guard_.add(cookie_of(s->listen), s->listen.bound);
  loop_.accept(s->op, s->listen.fd);
  sockets_.push_back(std::move(s));
}

Worker::SocketIterator Worker::find(const Socket& socket) {
  return std::find_if(sockets_.begin(), sockets_.end(), [&](const auto& p) { return p.get() == &socket; });
}

Worker::SocketIterator Worker::forget_socket(SocketIterator it) {
  const ListenSocket& listen = (*it)->listen;
  loop_.close(listen.fd);
  loop_guard_.remove(cookie_of(listen), listen.bound);
  it = sockets_.erase(it);
  if (sockets_.empty() && std::exchange(drain_when_closed_, false)) set_draining();
  return it;
}

void Worker::accepted(io::Op& op, io::Completion& c) {
  Socket& s = *op.owner<Socket>();
  Worker& w = s.worker;
  if (c.result >= 0) {
    if (s.closing && s.backlog == Backlog::reset)
      w.loop_.close_reset(c.result);
    else
      Downstream::accept(w, s.runtime, s.listen, c.result);
  }
  if (c.more) return;
  if (s.last_call.armed()) return s.retry.arm(w.loop_.now() + kLastCall / 2);
  if (s.closing) {
    w.forget_socket(w.find(s));
    return;
  }
  if (c.result >= 0 || c.result == -ECONNABORTED || c.result == -ECANCELED)
    return w.loop_.accept(s.op, s.listen.fd);
  if (w.loop_.now() >= s.next_warning) {
    s.next_warning = w.loop_.now() + kAcceptWarningInterval;
    SLUICE_LOG(listener, warn, "{}: accept: {}; clients wait in the backlog{}", s.listen.bound.to_string(),
               strerror(-c.result), c.result == -EMFILE ? " (raise the limit of open files)" : "");
  }
  s.retry.arm(w.loop_.now() + kAcceptPause);
}

void Worker::close_sockets(const std::function<bool(const ListenSocket&)>& which, Backlog backlog) {
  for (auto it = sockets_.begin(); it != sockets_.end();) {
    Socket& s = **it;
    const bool hurry = s.closing && s.backlog == Backlog::serve && backlog == Backlog::reset;
    if ((s.closing && !hurry) || !which(s.listen)) {
      ++it;
      continue;
    }
    s.closing = true;
    s.backlog = backlog;
    s.retry.cancel();
    s.last_call.cancel();
    if (backlog == Backlog::serve) {
      if (!s.op.in_flight()) loop_.accept(s.op, s.listen.fd);
      s.last_call.arm(loop_.now() + kLastCall);
      ++it;
    } else if (s.op.in_flight()) {
      loop_.cancel(s.op);
      ++it;
    } else {
      it = forget_socket(it);
    }
  }
}

void Worker::adjust_sockets(const std::shared_ptr<const model::Listener>& listener) {
  for (auto& s : sockets_) {
    if (s->closing || s->listen.workload || s->listen.listener != listener) continue;
    Status done = loop_.set_options(s->listen.fd, listener->socket_options);
    if (done) done = loop_.listen(s->listen.fd, static_cast<int>(listener->tcp_backlog));
    if (!done)
      SLUICE_LOG(listener, err, "{}: its socket stays as it was: {}", s->listen.bound.to_string(),
                 done.error().message);
  }
}

void Worker::drain_when_closed() {
  drain_when_closed_ = !sockets_.empty();
  if (!drain_when_closed_) set_draining();
}

void Worker::set_draining() {
  if (std::exchange(ending_, true)) return;
  health_check_failed_ = true;
  drainer_.begin_all({.time = Duration(0), .gradual = false}, false);
}

void Worker::for_each_connection(const std::function<void(Downstream&)>& f) {
  for (Downstream* d = connections_; d;) {
    Downstream* next = d->next();
    f(*d);
    d = next;
  }
}

void Worker::forget_workload(uint64_t netns_cookie) {
  clusters_->forget_origin(netns_cookie);
  listeners_.for_each([&](const ListenerRuntime& listener) {
    for (const auto& chain : listener.chains_not_in(nullptr))
      if (chain->transport) chain->transport->forget_workload(netns_cookie);
  });
}

void Worker::close_connections(const std::function<bool(const Downstream&)>& which) {
  for_each_connection([&](Downstream& d) {
    if (!which || which(d)) d.abort();
  });
}

std::vector<ConnectionSnapshot> Worker::connections() const {
  std::vector<ConnectionSnapshot> all;
  all.reserve(connection_count_);
  for (Downstream* d = connections_; d; d = d->next()) all.push_back(d->snapshot());
  return all;
}

void Worker::connection_ended() {
  --connection_count_;
  if (loop_.blocks().can_trim() && !trim_timer_.armed()) trim_timer_.arm(loop_.now() + kTrimAfter);
}

void Worker::trim(io::Timer& timer) {
  timer.owner<Worker>()->loop_.blocks().trim();
}

uint64_t Worker::next_connection_id() {
  // Unique in the process without sharing: the worker's index is in the low byte.
  return ++connections_made_ << 8 | options_.index;
}

}  // namespace sluice::proxy
