#include "core/stats.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>

namespace sluice::stats {
namespace {

constexpr uint32_t kCellsPerChunk = 512;
constexpr unsigned kSub = 1u << HistogramCells::kSubBits;

// Two cache lines, because the prefetcher takes them in pairs: no two threads write within one.
struct alignas(128) CellChunk {
  std::array<Cell, kCellsPerChunk> cells{};
};

struct alignas(128) PaddedHistogramCells : HistogramCells {};

HistogramCells* histogram_of(uint64_t cell) {
  return reinterpret_cast<HistogramCells*>(static_cast<uintptr_t>(cell));
}

void add_relaxed(Cell& cell, uint64_t n) {
  cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

// As Envoy's Utility::sanitizeStatsName.
std::string sanitized(std::string_view name) {
  while (!name.empty() && name.front() == '.') name.remove_prefix(1);
  while (!name.empty() && name.back() == '.') name.remove_suffix(1);
  std::string out;
  out.reserve(name.size());
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == ':') {
      out += '_';
      for (int slashes = 0; slashes < 2 && i + 1 < name.size() && name[i + 1] == '/'; ++slashes) ++i;
    } else {
      out += name[i] == '\0' ? '_' : name[i];
    }
  }
  return out;
}

// Width of a bucket in whole values; the last one is open-ended and counts as one value.
uint64_t width_of(unsigned bucket) {
  if (bucket + 1 >= HistogramCells::kBuckets) return 1;
  return HistogramCells::lower_bound(bucket + 1) - HistogramCells::lower_bound(bucket);
}

}  // namespace

unsigned HistogramCells::bucket_of(uint64_t value) {
  if (value < kSub) return static_cast<unsigned>(value);
  unsigned exponent = 63 - static_cast<unsigned>(std::countl_zero(value));
  if (exponent >= 40) return kBuckets - 1;
  unsigned shift = exponent - kSubBits;
  return (shift + 1) * kSub + static_cast<unsigned>((value >> shift) & (kSub - 1));
}

uint64_t HistogramCells::lower_bound(unsigned bucket) {
  assert(bucket < kBuckets);
  if (bucket < kSub) return bucket;
  return static_cast<uint64_t>(kSub + bucket % kSub) << (bucket / kSub - 1);
}

void Histogram::record(uint64_t value) {
  HistogramCells* cells = histogram_of(cells_->load(std::memory_order_relaxed));
  if (cells == nullptr) {
    cells = new PaddedHistogramCells;  // freed by the Store
    cells_->store(reinterpret_cast<uintptr_t>(cells), std::memory_order_release);
  }
  add_relaxed(cells->buckets[HistogramCells::bucket_of(value)], 1);
  add_relaxed(cells->sum, value);
}

double HistogramSnapshot::quantile(double q) const {
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  const double target = std::max(q * static_cast<double>(count), 0.0);
  uint64_t before = 0;
  for (unsigned i = 0; i < buckets.size(); ++i) {
    if (buckets[i] == 0) continue;
    if (static_cast<double>(before + buckets[i]) >= target) {
      double within = (target - static_cast<double>(before)) / static_cast<double>(buckets[i]);
      return static_cast<double>(HistogramCells::lower_bound(i)) +
             within * static_cast<double>(width_of(i) - 1);
    }
    before += buckets[i];
  }
  return std::numeric_limits<double>::quiet_NaN();  // not reached: q <= 1
}

uint64_t HistogramSnapshot::count_at_most(double bound) const {
  double n = 0;
  for (unsigned i = 0; i < buckets.size(); ++i) {
    double low = static_cast<double>(HistogramCells::lower_bound(i));
    if (low > bound) break;
    double covered = std::floor(bound) - low + 1, width = static_cast<double>(width_of(i));
    n += static_cast<double>(buckets[i]) * std::min(covered / width, 1.0);
  }
  return static_cast<uint64_t>(n);
}

HistogramSnapshot HistogramSnapshot::since(const HistogramSnapshot& earlier) const {
  HistogramSnapshot d = *this;
  for (size_t i = 0; i < earlier.buckets.size() && i < d.buckets.size(); ++i)
    d.buckets[i] -= earlier.buckets[i];
  d.count -= earlier.count;
  d.sum -= earlier.sum;
  return d;
}

struct Store::Metric {
  std::string name;
  Kind kind;
  Unit unit;
  uint32_t index = 0;  // of its cell in every slab; texts have none
  uint64_t base = 0;   // counters: their sum at the last reset
  bool text_set = false;
  std::string text;
};

struct Store::Slab {
  std::vector<std::unique_ptr<CellChunk>> chunks;

  Cell* find(uint32_t index) const {
    uint32_t chunk = index / kCellsPerChunk;
    if (chunk >= chunks.size() || !chunks[chunk]) return nullptr;
    return &chunks[chunk]->cells[index % kCellsPerChunk];
  }
  uint64_t read(uint32_t index, std::memory_order order = std::memory_order_relaxed) const {
    Cell* c = find(index);
    return c ? c->load(order) : 0;
  }
  Cell* get(uint32_t index) {
    uint32_t chunk = index / kCellsPerChunk;
    if (chunk >= chunks.size()) chunks.resize(chunk + 1);
    if (!chunks[chunk]) chunks[chunk] = std::make_unique<CellChunk>();
    return find(index);
  }
};

Store::Store(unsigned slots) : slots_(slots) {
  assert(slots > 0);
  for (unsigned i = 0; i < slots; ++i) slabs_.push_back(std::make_unique<Slab>());
}

Store::~Store() {
  for (auto& [key, m] : metrics_) {
    if (m->kind != Kind::histogram) continue;
    for (auto& slab : slabs_)
      delete static_cast<PaddedHistogramCells*>(
          histogram_of(slab->read(m->index, std::memory_order_acquire)));
  }
}

Store::Metric& Store::find_or_add(std::string name, Kind kind, Unit unit) {
  std::string key = name;
  key += '\0';  // sorts before every character of a longer name
  key += static_cast<char>(kind);
  auto [it, added] = metrics_.try_emplace(std::move(key));
  if (added) {
    it->second = std::make_unique<Metric>();
    Metric& m = *it->second;
    m.name = std::move(name);
    m.kind = kind;
    m.unit = unit;
    if (kind != Kind::text) m.index = cells_used_++;
  }
  return *it->second;
}

Cell* Store::cell(std::string name, Kind kind, Unit unit, unsigned slot) {
  assert(slot < slots_);
  std::lock_guard lock(mutex_);
  return slabs_[slot]->get(find_or_add(std::move(name), kind, unit).index);
}

void Store::set_text(std::string name, std::string value) {
  std::lock_guard lock(mutex_);
  Metric& m = find_or_add(std::move(name), Kind::text, Unit::none);
  m.text = std::move(value);
  m.text_set = true;
}

std::vector<MetricSnapshot> Store::snapshot(std::optional<Kind> kind) const {
  std::lock_guard lock(mutex_);
  std::vector<MetricSnapshot> out;
  if (!kind) out.reserve(metrics_.size());
  for (auto& [key, m] : metrics_) {
    if (kind && m->kind != *kind) continue;
    MetricSnapshot& s = out.emplace_back();
    s.name = m->name;
    s.kind = m->kind;
    s.unit = m->unit;
    switch (m->kind) {
      case Kind::counter: {
        uint64_t total = 0;
        for (auto& slab : slabs_) total += slab->read(m->index);
        s.value = total - m->base;
        s.used = total != 0;
        break;
      }
      case Kind::gauge:
        for (auto& slab : slabs_) {
          uint64_t v = slab->read(m->index);
          s.value += v;
          s.used |= (v & Gauge::kTouched) != 0;
        }
        s.value &= ~Gauge::kTouched;
        break;
      case Kind::histogram: {
        s.histogram = std::make_shared<HistogramSnapshot>();
        for (auto& slab : slabs_) {
          const HistogramCells* h = histogram_of(slab->read(m->index, std::memory_order_acquire));
          if (h == nullptr) continue;
          s.histogram->buckets.resize(HistogramCells::kBuckets);
          for (unsigned b = 0; b < HistogramCells::kBuckets; ++b) {
            uint64_t n = h->buckets[b].load(std::memory_order_relaxed);
            s.histogram->buckets[b] += n;
            s.histogram->count += n;
          }
          s.histogram->sum += h->sum.load(std::memory_order_relaxed);
        }
        s.used = s.histogram->count != 0;
        break;
      }
      case Kind::text:
        s.text = m->text;
        s.used = m->text_set;
        break;
    }
  }
  return out;
}

void Store::reset_counters() {
  std::lock_guard lock(mutex_);
  for (auto& [key, m] : metrics_) {
    if (m->kind != Kind::counter) continue;
    m->base = 0;
    for (auto& slab : slabs_) m->base += slab->read(m->index);
  }
}

Scope Scope::scope(std::string_view name) const {
  std::string prefix = prefix_ + sanitized(name);
  if (!prefix.empty() && prefix.back() != '.') prefix += '.';
  return Scope(*store_, slot_, std::move(prefix));
}

Counter Scope::counter(std::string_view name) const {
  return Counter(store_->cell(prefix_ + std::string(name), Kind::counter, Unit::none, slot_));
}

Gauge Scope::gauge(std::string_view name) const {
  return Gauge(store_->cell(prefix_ + std::string(name), Kind::gauge, Unit::none, slot_));
}

Histogram Scope::histogram(std::string_view name, Unit unit) const {
  return Histogram(store_->cell(prefix_ + std::string(name), Kind::histogram, unit, slot_));
}

void Scope::text(std::string_view name, std::string value) const {
  store_->set_text(prefix_ + std::string(name), std::move(value));
}

}  // namespace sluice::stats
