#include "core/stats.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <thread>

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
