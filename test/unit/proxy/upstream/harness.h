#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/stats.h"
#include "proxy/upstream/cluster_manager.h"

// Clusters on real loops with a listening socket to go to. One thread drives all loops in turn.
namespace sluice::upstream {

inline Address loopback(uint16_t port) {
  return Address(IpAddress::v4(htonl(INADDR_LOOPBACK)), port);
}

inline std::unique_ptr<io::Loop> new_loop() {
  auto loop = io::make_loop({.backend = io::LoopOptions::Backend::epoll});
  REQUIRE_MESSAGE(loop.ok(), loop.error().message);
  return std::move(*loop);
}

// Listens on a free port of 127.0.0.1; connections stay in the backlog until accept().
class Listener {
 public:
  explicit Listener(int backlog = 64)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    Address a = loopback(0);
    REQUIRE(::bind(fd_.get(), a.sockaddr_ptr(), a.len()) == 0);
    REQUIRE(::listen(fd_.get(), backlog) == 0);
    socklen_t len = Address::capacity();
    REQUIRE(::getsockname(fd_.get(), at_.sockaddr_ptr(), &len) == 0);
    at_.set_len(len);
  }
  const Address& at() const { return at_; }
  // Invalid when nobody waits.
  Fd accept() { return Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

 private:
  Fd fd_;
  Address at_;
};

// What became of one upstream.
struct Outcome final : ext::Upstream::Callbacks {
  using Failure = ext::Upstream::Failure;
  void on_connected(ext::Upstream&) override { connected = true; }
  void on_connect_failed(ext::Upstream&, Failure f, std::string_view r) override {
    ++failures;
    failure = f;
    reason = r;
    if (destroy) upstream.reset();
  }
  void on_upstream_data(Buffer& data, bool end) override {
    received += data.to_string();
    data.clear();
    ended |= end;
  }
  void on_closed(ext::Connection&, const ext::CloseEvent& e) override {
    closed = true;
    cause = e.cause;
  }
  bool over() const { return connected || failures > 0; }

  std::unique_ptr<ext::Upstream> upstream;
  bool connected = false, ended = false, closed = false, destroy = false;
  int failures = 0;
  Failure failure{};
  ext::CloseCause cause{};
  std::string reason, received;
};

struct Harness {
  explicit Harness(unsigned workers = 1)
      : loop(new_loop()),
        store(workers + 1),
        owned_(std::make_unique<ClusterDirectory>(*loop, store, ClusterDirectory::Options{.seed = 7})),
        directory(*owned_) {
    for (unsigned i = 0; i < workers; ++i) managers.push_back(directory.make_worker(*loop, i + 1, 100 + i));
  }
  ~Harness() {
    managers.clear();
    owned_.reset();
    turns(3);   // what was let go of goes at the end of turns
    CHECK(loop->ops_in_flight() == 0);
    CHECK(loop->timers().size() == 0);
  }

  model::Cluster& add(std::string name, std::vector<Address> hosts = {}) {
    auto c = std::make_shared<model::Cluster>();
    c->name = std::move(name);
    if (!hosts.empty()) {
      model::Locality& l = c->localities.emplace_back();
      for (Address& a : hosts) l.endpoints.emplace_back().address = a;
    }
    config.clusters.push_back(c);
    return *c;
  }
  void apply() {
    Status s = directory.apply(config);
    REQUIRE_MESSAGE(s.ok(), s.error().message);
    turns(1);
  }
  void turns(int n) {
    while (n-- > 0) loop->run_once(Duration(0));
  }
  // Turns until `done()`, for at most 20 s.
  template <typename F>
  bool until(F done) {
    MonotonicTime deadline = loop->now() + std::chrono::seconds(20);
    while (!done()) {
      if (loop->now() > deadline) return false;
      loop->run_once(std::chrono::milliseconds(50));
    }
    return true;
  }
  std::unique_ptr<Outcome> connect(std::string_view cluster, const ext::Upstream::Origin& origin = {},
                                   int worker = 0) {
    ext::Cluster* c = managers[worker]->find(cluster);
    REQUIRE(c != nullptr);
    auto o = std::make_unique<Outcome>();
    o->upstream = c->connect(origin, *o);
    CHECK_FALSE(o->over());   // never from inside connect()
    return o;
  }
  std::unique_ptr<Outcome> connect_wait(std::string_view cluster, const ext::Upstream::Origin& origin = {},
                                        int worker = 0) {
    auto o = connect(cluster, origin, worker);
    REQUIRE(until([&] { return o->over(); }));
    return o;
  }
  uint64_t stat(std::string_view name) const {
    for (const auto& m : store.snapshot()) {
      if (m.name == name) return m.value;
    }
    FAIL("no metric " << name);
    return 0;
  }

  std::unique_ptr<io::Loop> loop;
  stats::Store store;

 private:
  std::unique_ptr<ClusterDirectory> owned_;

 public:
  ClusterDirectory& directory;
  model::ConfigSet config;
  std::vector<std::unique_ptr<ext::ClusterManager>> managers;
};

}  // namespace sluice::upstream
