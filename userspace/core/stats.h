#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Statistics with Envoy's names. Each thread (slot) writes its own cells: no lock, no read-modify-write instruction, no
// cache line shared between writers. The control thread adds the slots up when somebody asks.
namespace sluice::stats {

using Cell = std::atomic<uint64_t>;

// A handle of one thread on one metric. Cheap to copy; valid as long as its Store.
class Counter {
 public:
  Counter() = default;
  explicit Counter(Cell* cell) : cell_(cell) {}
  void add(uint64_t n = 1) {
    cell_->store(cell_->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t slot_value() const { return cell_->load(std::memory_order_relaxed); }  // this thread's share

 private:
  Cell* cell_ = nullptr;
};

// Adds and subtracts per thread; the sum over the threads is the value (modulo 2^63: the top bit of a cell says that it
// was touched, so that a gauge that has gone back to 0 still counts as used, as in Envoy).
class Gauge {
 public:
  static constexpr uint64_t kTouched = 1ull << 63;
  Gauge() = default;
  explicit Gauge(Cell* cell) : cell_(cell) {}
  void add(uint64_t n = 1) {
    cell_->store((cell_->load(std::memory_order_relaxed) + n) | kTouched, std::memory_order_relaxed);
  }
  void sub(uint64_t n = 1) { add(-n); }
  // For gauges that a single thread owns.
  void set(uint64_t v) { cell_->store(v | kTouched, std::memory_order_relaxed); }
  uint64_t slot_value() const { return cell_->load(std::memory_order_relaxed) & ~kTouched; }

 private:
  Cell* cell_ = nullptr;
};

// Log-linear buckets, 16 to a power of two (at most 6 % wide), from 0 to 2^40; then one for what is above.
class HistogramCells {
 public:
  static constexpr unsigned kSubBits = 4;
  static constexpr unsigned kBuckets = (40 - kSubBits + 1) * (1u << kSubBits) + 1;
  static unsigned bucket_of(uint64_t value);
  static uint64_t lower_bound(unsigned bucket);
  std::array<Cell, kBuckets> buckets{};
  Cell sum{0};
};

// The thread's buckets (4.7 KB) are made by the first record(): most histograms of most threads never get one.
class Histogram {
 public:
  Histogram() = default;
  explicit Histogram(Cell* cells) : cells_(cells) {}
  void record(uint64_t value);

 private:
  Cell* cells_ = nullptr;  // holds a HistogramCells*, or 0 before the first record
};

enum class Unit : uint8_t { none, milliseconds, microseconds, bytes, percent };
enum class Kind : uint8_t { counter, gauge, histogram, text };

struct HistogramSnapshot {
  std::vector<uint64_t> buckets;  // as HistogramCells::buckets
  uint64_t count = 0, sum = 0;
  double quantile(double q) const;  // 0..1; NaN when empty; exact up to 31, then within 6 %
  uint64_t count_at_most(double bound) const;  // for Prometheus' le buckets; never falls as `bound` rises
  HistogramSnapshot since(const HistogramSnapshot& earlier) const;
};

struct MetricSnapshot {
  std::string name;
  Kind kind;
  Unit unit;
  uint64_t value = 0;  // counter, gauge
  bool used = false;  // touched at least once ("usedonly")
  std::shared_ptr<HistogramSnapshot> histogram;
  std::string text;
};

class Store;

// A name prefix for one thread. Asking for the same full name again gives the same metric. Asking takes a lock: keep the
// handle. Two kinds of metric may share a name (as in Envoy).
class Scope {
 public:
  Scope(Store& store, unsigned slot, std::string prefix)
      : store_(&store), slot_(slot), prefix_(std::move(prefix)) {}
  // "cluster." + name + "."; the dot is added. As in Envoy, "://", ":/" and ":" in `name` become "_".
  Scope scope(std::string_view name) const;
  Counter counter(std::string_view name) const;
  Gauge gauge(std::string_view name) const;
  Histogram histogram(std::string_view name, Unit unit) const;
  void text(std::string_view name, std::string value) const;
  unsigned slot() const { return slot_; }
  const std::string& prefix() const { return prefix_; }
  Store& store() const { return *store_; }

 private:
  Store* store_;
  unsigned slot_;
  std::string prefix_;
};

class Store {
 public:
  // `slots`: one for the control thread (slot 0) and one a worker.
  explicit Store(unsigned slots);
  ~Store();
  Scope root(unsigned slot) { return Scope(*this, slot, ""); }
  unsigned slots() const { return slots_; }

  // From any thread; names sorted. `kind`: that kind alone.
  std::vector<MetricSnapshot> snapshot(std::optional<Kind> kind = std::nullopt) const;
  // Admin /reset_counters, from any thread. The writers' cells are left alone: what they hold now is the new zero.
  void reset_counters();

 private:
  friend class Scope;
  struct Metric;
  struct Slab;
  // The slot's cell of a metric, which is made if it is not there.
  Cell* cell(std::string name, Kind kind, Unit unit, unsigned slot);
  void set_text(std::string name, std::string value);
  Metric& find_or_add(std::string name, Kind kind, Unit unit);  // under mutex_

  const unsigned slots_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Metric>> metrics_;  // by name and kind
  std::vector<std::unique_ptr<Slab>> slabs_;  // one a slot; its cells never move
  uint32_t cells_used_ = 0;
};

}  // namespace sluice::stats
