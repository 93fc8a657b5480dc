#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/upstream/cluster_manager.h"
#include "sluice/ext/http_upstream.h"
#include "test/sim/peer.h"
#include "test/sim/sim_loop.h"

// HTTP tries against scripted servers on the simulated network.
namespace sluice::upstream {

inline Address at(const std::string& text) {
  return *Address::parse(text);
}

// One request from its try to its response.
struct Call final : ext::HttpTry::Callbacks, http::StreamReceiver {
  using Failure = ext::Upstream::Failure;
  void on_ready(http::Stream& s) override {
    ++ready;
    stream = &s;
    protocol = s.protocol();
    connection_id = attempt->connection().id();
    streams = attempt->connection_streams();
    if (hold) return;
    send();
  }
  void send(bool end = true) {
    http::HeaderMapPtr h = http::make_headers();
    h->add(http::Name::method, "GET");
    h->add(http::Name::scheme, "http");
    h->add(http::Name::authority, "host");
    h->add(http::Name::path, path);
    stream->send_headers(*h, end);
  }
  void on_failure(Failure f, std::string_view r) override {
    ++failed;
    failure = f;
    reason = r;
    attempt.reset();
  }
  void on_headers(http::HeaderMapPtr h, bool end) override {
    status = std::string(h->get(http::Name::status));
    ended |= end;
  }
  void on_data(Buffer& data, bool end) override {
    body += data.to_string();
    ended |= end;
  }
  void on_trailers(http::HeaderMapPtr) override { ended = true; }
  void on_reset(http::ResetReason r, std::string_view) override {
    ++resets;
    reset = r;
  }
  bool over() const { return failed + resets > 0 || ended; }

  std::string path = "/";
  bool hold = false;
  std::unique_ptr<ext::HttpTry> attempt;
  http::Stream* stream = nullptr;
  http::Protocol protocol{};
  uint64_t connection_id = 0, streams = 0;
  int ready = 0, failed = 0, resets = 0;
  bool ended = false;
  Failure failure{};
  http::ResetReason reset{};
  std::string reason, status, body;
};

struct HttpWorld {
  explicit HttpWorld(uint64_t seed = 1)
      : net(seed), world(net), loop(net), owned(std::make_unique<Directory>(loop, seed)) {}
  ~HttpWorld() {
    calls.clear();
    manager.reset();
    // What pools have let go of counts until it is gone: the statistics outlive it.
    loop.run_until([&] { return loop.open_descriptors() == 0; }, std::chrono::seconds(10));
    loop.run_once(Duration(0));
    loop.run_once(Duration(0));
    owned.reset();
    loop.run_until([&] { return loop.open_descriptors() == 0; }, std::chrono::seconds(10));
    loop.run_once(Duration(0));
    loop.run_once(Duration(0));
    CHECK(loop.leftovers() == "");
  }

  model::Cluster& cluster(const std::vector<Address>& hosts) {
    auto c = std::make_shared<model::Cluster>();
    c->name = "c";
    model::Locality& l = c->localities.emplace_back();
    for (const Address& a : hosts) l.endpoints.emplace_back().address = a;
    owned->config.clusters.assign(1, c);
    return *c;
  }
  void apply() {
    REQUIRE(owned->directory.apply(owned->config).ok());
    if (!manager) manager = owned->directory.make_worker(loop, 1, 1);
    loop.run_once(Duration(0));
  }
  ext::HttpCluster& http() { return *manager->find("c")->http(); }
  Call& call(std::string path = "/", const ext::Upstream::Origin& origin = {},
             const ext::HttpRequestTraits& traits = {}) {
    Call& c = prepare(std::move(path), origin, traits);
    c.attempt->start();
    return c;
  }
  Call& prepare(std::string path = "/", const ext::Upstream::Origin& origin = {},
                const ext::HttpRequestTraits& traits = {}) {
    Call& c = *calls.emplace_back(std::make_unique<Call>());
    c.path = std::move(path);
    c.attempt = http().make_try(origin, traits, c, c);
    return c;
  }
  Call& finish(Call& c) {
    REQUIRE(loop.run_until([&] { return c.over(); }));
    c.attempt.reset();
    settle();
    return c;
  }
  void settle() {
    for (int i = 0; i < 3; ++i) loop.run_once(Duration(0));
  }
  void wait(Duration d) {
    MonotonicTime until = loop.now() + d;
    while (loop.now() < until) loop.run_once(until - loop.now());
  }
  uint64_t stat(const std::string& name) const {
    for (const auto& m : owned->store.snapshot())
      if (m.name == "cluster.c." + name) return m.value;
    return 0;
  }

  struct Directory {
    Directory(io::Loop& loop, uint64_t seed) : directory(loop, store, {.seed = seed}) {}
    stats::Store store{2};
    model::ConfigSet config;
    ClusterDirectory directory;
  };
  sim::SimNet net;
  sim::World world;
  sim::SimLoop loop;
  std::unique_ptr<Directory> owned;
  std::unique_ptr<ext::ClusterManager> manager;
  std::vector<std::unique_ptr<Call>> calls;
};

}  // namespace sluice::upstream
