#include "core/stats.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <thread>

#include "core/gauge_share.h"

using namespace sluice::stats;

namespace {

std::map<std::string, MetricSnapshot> by_name(const Store& store) {
  std::map<std::string, MetricSnapshot> out;
  for (auto& m : store.snapshot()) out[m.name] = m;
  return out;
}

}  // namespace

TEST_CASE("counters and gauges of several threads add up") {
  Store store(4);
  std::vector<std::thread> threads;
  for (unsigned slot = 0; slot < 4; ++slot) {
    threads.emplace_back([&store, slot] {
      Counter total = store.root(slot).scope("cluster").scope("a").counter("upstream_cx_total");
      Gauge active = store.root(slot).gauge("active");
      Histogram h = store.root(slot).histogram("length", Unit::milliseconds);
      for (int i = 0; i < 1000; ++i) {
        total.add();
        h.record(10);
        slot == 0 ? active.add(3) : active.sub();  // one thread opens, others close
      }
    });
  }
  for (auto& t : threads) t.join();
  auto m = by_name(store);
  CHECK(m.at("cluster.a.upstream_cx_total").value == 4000);
  CHECK(m.at("active").value == 0);
  CHECK(m.at("active").used);
  CHECK(m.at("length").histogram->count == 4000);
  CHECK(m.at("length").histogram->sum == 40000);
}

TEST_CASE("a share of a gauge is what was set last, and goes back with its connection") {
  Store store(1);
  const Gauge gauge = store.root(0).gauge("buffered");
  {
    GaugeShare one(gauge);
    one.set(0);
    CHECK_FALSE(by_name(store).at("buffered").used);
    GaugeShare other(gauge);
    one.set(100);
    other.set(5);
    one.set(30);
    CHECK(one.value() == 30);
    CHECK(by_name(store).at("buffered").value == 35);
    one.set(0);
    CHECK(by_name(store).at("buffered").value == 5);
  }
  CHECK(by_name(store).at("buffered").value == 0);
  CHECK(by_name(store).at("buffered").used);
}

TEST_CASE("the same name gives the same cell, and cells stay where they are") {
  Store store(2);
  auto root = store.root(1);
  Counter first = root.counter("first");
  first.add(5);
  for (int i = 0; i < 3000; ++i) root.counter("n" + std::to_string(i)).add();
  first.add();
  CHECK(root.counter("first").slot_value() == 6);
  CHECK(store.root(0).counter("first").slot_value() == 0);
  CHECK(by_name(store).at("n2999").value == 1);
}

TEST_CASE("two kinds may share a name; a snapshot is sorted by name") {
  Store store(1);
  auto root = store.root(0);
  root.gauge("b").set(7);
  root.counter("b").add(2);
  root.counter("b.c");
  root.counter("a");
  root.counter("b\x01");
  auto all = store.snapshot();
  REQUIRE(all.size() == 5);
  CHECK(all[0].name == "a");
  CHECK(all[1].value == 2);
  CHECK(all[2].value == 7);
  CHECK(all[3].name == "b\x01");
  CHECK(all[4].name == "b.c");
}

TEST_CASE("used says whether anybody ever touched it") {
  Store store(1);
  auto root = store.root(0);
  root.counter("c");
  Gauge g = root.gauge("g");
  root.histogram("h", Unit::bytes);
  for (auto& m : store.snapshot()) CHECK_FALSE(m.used);
  g.add();
  g.sub();
  CHECK(by_name(store).at("g").used);
  CHECK(by_name(store).at("g").value == 0);
  g.set(~0ull);  // a hash may have any bits
  CHECK(by_name(store).at("g").value == ~0ull);
  root.text("t", "v1");
  CHECK(by_name(store).at("t").text == "v1");
}

TEST_CASE("reset_counters starts counters anew and leaves the rest alone") {
  Store store(2);
  Counter c = store.root(1).counter("c");
  c.add(10);
  store.root(0).counter("c").add(1);
  store.root(0).gauge("g").set(4);
  store.root(0).histogram("h", Unit::none).record(1);
  store.reset_counters();
  CHECK(by_name(store).at("c").value == 0);
  CHECK(by_name(store).at("c").used);
  c.add(3);
  CHECK(by_name(store).at("c").value == 3);
  CHECK(by_name(store).at("g").value == 4);
  CHECK(by_name(store).at("h").histogram->count == 1);
}

TEST_CASE("scopes end in one dot and are cleaned as Envoy cleans them") {
  Store store(1);
  CHECK(store.root(0).scope("cluster.").scope("x").prefix() == "cluster.x.");
  CHECK(store.root(0).scope("listener").scope("[::1]_80").prefix() == "listener.[__1]_80.");
  CHECK(store.root(0).scope("unix:///a").prefix() == "unix_/a.");
  CHECK(store.root(0).scope("").prefix() == "");
}

TEST_CASE("histogram buckets tile the numbers and are at most a sixteenth wide") {
  for (unsigned b = 0; b < HistogramCells::kBuckets; ++b) {
    uint64_t low = HistogramCells::lower_bound(b);
    CHECK(HistogramCells::bucket_of(low) == b);
    if (b > 0) CHECK(HistogramCells::bucket_of(low - 1) == b - 1);
    if (b >= 16 && b + 1 < HistogramCells::kBuckets) {
      CHECK((HistogramCells::lower_bound(b + 1) - low) * 16 <= low);
    }
  }
  CHECK(HistogramCells::bucket_of(~0ull) == HistogramCells::kBuckets - 1);
}

TEST_CASE("quantiles and bucket counts") {
  Store store(1);
  Histogram h = store.root(0).histogram("h", Unit::milliseconds);
  CHECK(std::isnan(by_name(store).at("h").histogram->quantile(0.5)));
  for (uint64_t v = 1; v <= 1000; ++v) h.record(v);
  auto snap = *by_name(store).at("h").histogram;
  CHECK(snap.quantile(0) == doctest::Approx(1));
  CHECK(snap.quantile(0.5) == doctest::Approx(500).epsilon(0.04));
  CHECK(snap.quantile(0.99) == doctest::Approx(990).epsilon(0.04));
  CHECK(snap.count_at_most(0.5) == 0);
  CHECK(snap.count_at_most(10) == 10);
  CHECK(snap.count_at_most(1e9) == 1000);
  uint64_t last = 0;
  for (double bound = 0; bound < 1100; bound += 0.7) {
    uint64_t n = snap.count_at_most(bound);
    CHECK(n >= last);
    last = n;
  }
  for (int i = 0; i < 5; ++i) h.record(7);
  auto delta = by_name(store).at("h").histogram->since(snap);
  CHECK(delta.count == 5);
  CHECK(delta.sum == 35);
  CHECK(delta.quantile(1) == 7);
  CHECK(delta.quantile(0) == 7);
}

namespace {

const Layout& pair_layout() {
  static const Layout layout({{"b", Kind::gauge}, {"a", Kind::counter}, {"t", Kind::histogram, Unit::bytes}});
  return layout;
}

std::vector<std::string> names(const Store& store) {
  std::vector<std::string> out;
  for (auto& m : store.snapshot()) out.push_back(m.name);
  return out;
}

}  // namespace

TEST_CASE("a block's metrics are those of their names") {
  Store store(3);
  const Scope scope = store.root(1).scope("cluster").scope("x.y");
  scope.declare(pair_layout());
  CHECK(names(store) == std::vector<std::string>{"cluster.x.y.a", "cluster.x.y.b", "cluster.x.y.t"});
  for (auto& m : store.snapshot()) CHECK_FALSE(m.used);
  CHECK(store.snapshot(std::nullopt, true).empty());
  const Block block = scope.block(pair_layout());
  block.counter("a").add(2);
  scope.counter("a").add(1);
  store.root(2).counter("cluster.x.y.a").add(4);
  block.histogram("t").record(9);
  CHECK(by_name(store).at("cluster.x.y.a").value == 7);
  CHECK(by_name(store).at("cluster.x.y.t").histogram->count == 1);
  CHECK(store.snapshot(Kind::histogram, true).size() == 1);
  store.reset_counters();
  block.counter("a").add(5);
  CHECK(by_name(store).at("cluster.x.y.a").value == 5);
}

TEST_CASE("a name that stood before its layout is one metric still") {
  Store store(1);
  const Scope scope = store.root(0).scope("s");
  Counter before = scope.counter("a");
  before.add(2);
  scope.block(pair_layout()).counter("a").add(3);
  before.add(1);
  auto all = store.snapshot(Kind::counter);
  REQUIRE(all.size() == 1);
  CHECK(all[0].value == 6);
}

TEST_CASE("histograms with values are those of the whole snapshot, whatever comes and goes") {
  Store store(2);
  auto check = [&](std::vector<std::string> expected) {
    std::vector<std::string> asked, all;
    for (auto& m : store.snapshot(Kind::histogram, true)) {
      asked.push_back(m.name);
      CHECK(m.used);
      CHECK(m.histogram->count == by_name(store).at(m.name).histogram->count);
    }
    for (auto& m : store.snapshot())
      if (m.kind == Kind::histogram && m.used) all.push_back(m.name);
    CHECK(asked == expected);
    CHECK(all == expected);
  };
  const Scope b = store.root(0).scope("b"), a = store.root(1).scope("a");
  b.declare(pair_layout());
  store.root(0).counter("b.a").add(1);
  store.root(0).histogram("never", Unit::none);
  check({});
  auto lease = std::make_unique<Lease>(a.lease());
  a.block(pair_layout()).histogram("t").record(1);
  a.scope("inner").histogram("z", Unit::none).record(1);
  b.block(pair_layout()).histogram("t").record(1);
  store.root(1).block(pair_layout()).histogram("t").record(1);
  store.root(1).scope("b").histogram("t", Unit::bytes).record(3);
  check({"a.inner.z", "a.t", "b.t", "t"});
  lease.reset();
  check({"b.t", "t"});
  a.declare(pair_layout());
  check({"b.t", "t"});
}

TEST_CASE("names are sorted over scopes within scopes") {
  Store store(1);
  for (const char* name : {"c.a-b.x", "c.a.x", "c.a.b.x", "c.a0.x", "c.a.z", "c.a.b", "c.b", "c", "d"})
    store.root(0).counter(name);
  CHECK(names(store) ==
        std::vector<std::string>{"c", "c.a-b.x", "c.a.b", "c.a.b.x", "c.a.x", "c.a.z", "c.a0.x", "c.b", "d"});
}

TEST_CASE("metrics go with the last lease of their prefix") {
  Store store(2);
  const Scope scope = store.root(1).scope("cluster").scope("a");
  store.root(0).counter("cluster.ab.n").add();
  {
    std::optional<Lease> second;
    {
      const Lease first = scope.lease();
      second.emplace(scope.lease());
      scope.block(pair_layout()).histogram("t").record(1);
      scope.scope("in").counter("n").add(3);
      scope.text("version", "1");
    }
    CHECK(by_name(store).at("cluster.a.in.n").value == 3);
  }
  CHECK(names(store) == std::vector<std::string>{"cluster.ab.n"});
  const Lease again = scope.lease();
  CHECK(scope.counter("a").slot_value() == 0);
  CHECK(scope.scope("in").counter("n").slot_value() == 0);
  CHECK(by_name(store).at("cluster.ab.n").value == 1);
}

TEST_CASE("a lease within another's prefix keeps what is its own") {
  Store store(1);
  const Scope outer = store.root(0).scope("c").scope("a"), inner = outer.scope("b");
  auto of_inner = std::make_unique<Lease>(inner.lease());
  {
    const Lease of_outer = outer.lease();
    outer.counter("n");
    inner.counter("n");
    inner.scope("deep").counter("n");
  }
  CHECK(names(store) == std::vector<std::string>{"c.a.b.deep.n", "c.a.b.n"});
  of_inner.reset();
  CHECK(names(store).empty());
}

TEST_CASE("scopes that come and go take no more memory than those that are there") {
  Store store(2);
  size_t most = 0;
  for (int i = 0; i < 2000; ++i) {
    const Scope scope = store.root(1).scope("cluster").scope("c" + std::to_string(i));
    const Lease lease = scope.lease();
    scope.block(pair_layout()).counter("a").add();
    scope.counter("other").add();
    if (i == 0) most = store.memory();
  }
  CHECK(store.memory() == most);
  CHECK(store.snapshot().empty());
}
