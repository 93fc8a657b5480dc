#include "proxy/upstream/circuit_breaker.h"

#include <doctest/doctest.h>

#include <thread>

#include "core/random.h"

using namespace sluice;
using namespace sluice::upstream;

namespace {

uint64_t value(const stats::Store& store, std::string_view name) {
  for (const auto& m : store.snapshot()) {
    if (m.name == name) return m.value;
  }
  return ~0ull;
}

}  // namespace

TEST_CASE("a limit is one for all workers, and its gauges add up") {
  stats::Store store(3);
  SharedLimit limit(3);
  store.root(0).gauge("remaining").set(3);
  LimitHandle a(limit, store.root(1).gauge("open"), store.root(1).gauge("remaining"));
  LimitHandle b(limit, store.root(2).gauge("open"), store.root(2).gauge("remaining"));
  CHECK(a.acquire());
  CHECK(b.acquire());
  CHECK(value(store, "open") == 0);
  CHECK(value(store, "remaining") == 1);
  CHECK(b.acquire());
  CHECK(value(store, "open") == 1);
  CHECK(value(store, "remaining") == 0);
  CHECK_FALSE(a.acquire());
  CHECK_FALSE(b.acquire());
  a.release();   // b reached the limit, a leaves it
  CHECK(value(store, "open") == 0);
  CHECK(value(store, "remaining") == 1);
  CHECK(a.acquire());
  CHECK_FALSE(b.acquire());
  a.release(), b.release(), b.release();
  CHECK(limit.value() == 0);
  CHECK(value(store, "remaining") == 3);
}

TEST_CASE("without a limit nothing shared is written") {
  stats::Store store(1);
  SharedLimit limit(~0u);
  LimitHandle a(limit, store.root(0).gauge("open"));
  for (int i = 0; i < 100; ++i) CHECK(a.acquire());
  a.count();
  CHECK(limit.value() == 0);
}

TEST_CASE("a limit of 0 admits nobody") {
  stats::Store store(1);
  SharedLimit limit(0);
  LimitHandle a(limit, store.root(0).gauge("open"));
  CHECK_FALSE(a.acquire());
}

TEST_CASE("threads together never pass the limit, and the gauges end where they began") {
  constexpr int kLimit = 5;
  stats::Store store(5);
  SharedLimit limit(kLimit);
  store.root(0).gauge("remaining").set(kLimit);
  std::atomic<int> inside{0}, most{0};
  std::vector<std::jthread> threads;
  for (unsigned slot = 1; slot <= 4; ++slot) {
    threads.emplace_back([&, slot] {
      LimitHandle h(limit, store.root(slot).gauge("open"), store.root(slot).gauge("remaining"));
      Random random(slot);
      int mine = 0;
      for (int i = 0; i < 50000; ++i) {
        if (random.chance(1, 2) && h.acquire()) {
          ++mine;
          int now = ++inside;
          for (int m = most; now > m && !most.compare_exchange_weak(m, now);) {
          }
        } else if (mine > 0) {
          --mine, --inside;
          h.release();
        }
      }
      for (; mine > 0; --mine) --inside, h.release();
    });
  }
  threads.clear();
  CHECK(most <= kLimit);
  CHECK(most > 1);
  CHECK(limit.value() == 0);
  CHECK(value(store, "open") == 0);
  CHECK(value(store, "remaining") == kLimit);
}
