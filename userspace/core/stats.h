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
#include <utility>
#include <vector>

// Statistics with Envoy's names. Each thread (slot) writes its own cells: no lock, no read-modify-write instruction, no
// cache line shared between writers. The control thread adds the slots up when somebody asks.
namespace sluice::stats {

using Cell = std::atomic<uint64_t>;

// A handle of one thread on one metric. Cheap to copy; valid as long as its Store, and where its prefix is leased as long
// as a lease of that.
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

// Adds and subtracts per thread; the sum over the threads is the value, modulo 2^64. A cell that is 0 was never touched:
// a gauge that has gone back to 0 still counts as used, as in Envoy.
class Gauge {
 public:
  Gauge() = default;
  explicit Gauge(Cell* cell) : cell_(cell) {}
  void add(uint64_t n = 1) { set(slot_value() + n); }
  void sub(uint64_t n = 1) { add(-n); }
  // For gauges that a single thread owns.
  void set(uint64_t v) { cell_->store(v + kZero, std::memory_order_relaxed); }
  uint64_t slot_value() const { return value_of(cell_->load(std::memory_order_relaxed)); }
  static uint64_t value_of(uint64_t cell) { return cell == 0 ? 0 : cell - kZero; }

 private:
  // How a touched 0 is written. The number that would be written as 0 is none that anything counts to.
  static constexpr uint64_t kZero = 0x9e3779b97f4a7c15;
  Cell* cell_ = nullptr;
};

// Log-linear buckets, 16 to a power of two (at most 6 % wide), from 0 to 2^40; then one for what is above. Two cache
// lines apart from the next one's, because the prefetcher takes them in pairs: no two threads write within one.
class alignas(128) HistogramCells {
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

// Names that many scopes have alike, such as those below "cluster.<name>.": kept once, so that a further scope costs
// little more than its values. Names have no dots.
class Layout {
 public:
  struct Item {
    std::string_view name;  // a literal
    Kind kind;
    Unit unit = Unit::none;
  };
  explicit Layout(std::vector<Item> items);
  const std::vector<Item>& items() const { return items_; }  // by name and kind
  std::optional<uint32_t> find(std::string_view name, Kind kind) const;

 private:
  std::vector<Item> items_;
};

// One scope's metrics of a Layout, for one thread. To ask for a name that the layout does not have is a bug.
class Block {
 public:
  Counter counter(std::string_view name) const { return Counter(at(name, Kind::counter)); }
  Gauge gauge(std::string_view name) const { return Gauge(at(name, Kind::gauge)); }
  Histogram histogram(std::string_view name) const { return Histogram(at(name, Kind::histogram)); }

 private:
  friend class Scope;
  Block(const Layout& layout, Cell* cells) : layout_(&layout), cells_(cells) {}
  Cell* at(std::string_view name, Kind kind) const;
  const Layout* layout_;
  Cell* cells_;
};

// Keeps the metrics below a prefix. When the last lease of a prefix ends they are gone, from snapshots too, and their
// memory is used again: who holds handles below the prefix holds a lease. Metrics below a prefix that was never leased
// stay for good. Ends on any thread, before the Store does.
class Lease {
 public:
  Lease() = default;
  Lease(Store& store, std::string prefix);
  Lease(Lease&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)), prefix_(std::move(other.prefix_)) {}
  Lease& operator=(Lease&&) = delete;
  ~Lease();

 private:
  Store* store_ = nullptr;
  std::string prefix_;
};

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
  // All metrics of `layout`, which must outlive the Store: shown from now on, with cells for no thread yet.
  void declare(const Layout& layout) const;
  Block block(const Layout& layout) const;  // declares, and gives this thread its cells
  Lease lease() const { return Lease(*store_, prefix_); }
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
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  Scope root(unsigned slot) { return Scope(*this, slot, ""); }
  unsigned slots() const { return slots_; }

  // From any thread; names sorted. `kind`: that kind alone; `used_only`: those that somebody has touched.
  std::vector<MetricSnapshot> snapshot(std::optional<Kind> kind = std::nullopt, bool used_only = false) const;
  // Admin /reset_counters, from any thread. The writers' cells are left alone: what they hold now is the new zero.
  void reset_counters();
  size_t memory() const;  // bytes of cells, of all threads

 private:
  friend class Scope;
  friend class Lease;
  class Pool;
  struct Group;
  class Groups;
  struct Ref;

  // The slot's cell of a metric, which is made if it is not there. `prefix` and `name` together are its name.
  Cell* cell(std::string_view prefix, std::string_view name, Kind kind, Unit unit, unsigned slot);
  Cell* block(const std::string& prefix, const Layout& layout, std::optional<unsigned> slot);
  void set_text(std::string_view prefix, std::string_view name, std::string value);
  void add_lease(const std::string& prefix);
  void end_lease(const std::string& prefix);

  // Under mutex_:
  Pool& pool(const Layout& layout);
  bool leased(std::string_view prefix) const;
  void drop(Group& group);
  using SortedGroups = std::vector<Group*>;
  void print(SortedGroups::const_iterator& at, SortedGroups::const_iterator end, std::optional<Kind> kind,
             bool used_only, std::vector<MetricSnapshot>& out) const;
  void add_to(MetricSnapshot& to, const Ref& metric) const;

  const unsigned slots_;
  mutable std::mutex mutex_;
  const std::unique_ptr<Groups> groups_;
  std::map<const Layout*, std::unique_ptr<Pool>> pools_;
  std::unique_ptr<Pool> singles_;  // of metrics outside layouts
};

}  // namespace sluice::stats
