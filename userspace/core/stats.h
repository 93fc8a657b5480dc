#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
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
  void add(uint64_t n = 1) { cell_->store(cell_->load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t slot_value() const { return cell_->load(std::memory_order_relaxed); }  // this thread's share

 private:
  Cell* cell_ = nullptr;
};

// Adds and subtracts per thread; the sum over the threads is the value.
class Gauge {
 public:
  Gauge() = default;
  explicit Gauge(Cell* cell) : cell_(cell) {}
  void add(uint64_t n = 1) { cell_->store(cell_->load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void sub(uint64_t n = 1) { add(-n); }
  // For gauges that a single thread owns.
  void set(uint64_t v) { cell_->store(v, std::memory_order_relaxed); }
  uint64_t slot_value() const { return cell_->load(std::memory_order_relaxed); }

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

class Histogram {
 public:
  Histogram() = default;
  explicit Histogram(HistogramCells* cells) : cells_(cells) {}
  void record(uint64_t value);

 private:
  HistogramCells* cells_ = nullptr;
};

enum class Unit : uint8_t { none, milliseconds, microseconds, bytes, percent };
enum class Kind : uint8_t { counter, gauge, histogram, text };

struct HistogramSnapshot {
  std::vector<uint64_t> buckets;  // as HistogramCells::buckets
  uint64_t count = 0, sum = 0;
  double quantile(double q) const;            // 0..1; NaN when empty
  uint64_t count_at_most(double bound) const; // for Prometheus' le buckets
};

struct MetricSnapshot {
  std::string name;
  Kind kind;
  Unit unit;
  uint64_t value = 0;                   // counter, gauge
  bool used = false;                    // touched at least once ("usedonly")
  std::shared_ptr<HistogramSnapshot> histogram;
  std::string text;
};

class Store;

// A name prefix for one thread. Asking for the same full name again gives the same metric.
class Scope {
 public:
  Scope(Store& store, unsigned slot, std::string prefix) : store_(&store), slot_(slot), prefix_(std::move(prefix)) {}
  Scope scope(std::string_view name) const;            // "cluster." + name + "."; the dot is added
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

  // From any thread; names sorted.
  std::vector<MetricSnapshot> snapshot() const;
  void reset_counters();   // admin /reset_counters

 private:
  friend class Scope;
  struct Metric;
  struct Slab;
  Metric& find_or_add(std::string name, Kind kind, Unit unit);
  Cell* cell(Metric& metric, unsigned slot);

  const unsigned slots_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Metric>, std::less<>> metrics_;
  std::vector<std::unique_ptr<Slab>> slabs_;  // one a slot
  uint32_t cells_used_ = 0;
};

}  // namespace sluice::stats
