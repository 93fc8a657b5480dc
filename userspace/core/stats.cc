#include "core/stats.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <tuple>

namespace sluice::stats {
namespace {

constexpr unsigned kSub = 1u << HistogramCells::kSubBits;

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
  auto* cells = reinterpret_cast<HistogramCells*>(cells_->load(std::memory_order_relaxed));
  if (cells == nullptr) {
    cells = new HistogramCells;  // freed by the Store
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

Scope Scope::scope(std::string_view name) const {
  std::string prefix = prefix_ + sanitized(name);
  if (!prefix.empty() && prefix.back() != '.') prefix += '.';
  return Scope(*store_, slot_, std::move(prefix));
}

Counter Scope::counter(std::string_view name) const {
  return Counter(store_->cell(prefix_, name, Kind::counter, Unit::none, slot_));
}

Gauge Scope::gauge(std::string_view name) const {
  return Gauge(store_->cell(prefix_, name, Kind::gauge, Unit::none, slot_));
}

Histogram Scope::histogram(std::string_view name, Unit unit) const {
  return Histogram(store_->cell(prefix_, name, Kind::histogram, unit, slot_));
}

void Scope::text(std::string_view name, std::string value) const {
  store_->set_text(prefix_, name, std::move(value));
}

void Scope::declare(const Layout& layout) const {
  store_->block(prefix_, layout, std::nullopt);
}

Block Scope::block(const Layout& layout) const {
  return Block(layout, store_->block(prefix_, layout, slot_));
}

// ---- layouts ----

namespace {

bool before(const Layout::Item& a, const Layout::Item& b) {
  return std::tie(a.name, a.kind) < std::tie(b.name, b.kind);
}

}  // namespace

Layout::Layout(std::vector<Item> items) : items_(std::move(items)) {
  std::sort(items_.begin(), items_.end(), before);
}

std::optional<uint32_t> Layout::find(std::string_view name, Kind kind) const {
  const Item wanted{name, kind};
  const auto it = std::lower_bound(items_.begin(), items_.end(), wanted, before);
  if (it == items_.end() || before(wanted, *it)) return std::nullopt;
  return static_cast<uint32_t>(it - items_.begin());
}

Cell* Block::at(std::string_view name, Kind kind) const {
  const auto index = layout_->find(name, kind);
  if (!index) {
    std::fprintf(stderr, "no metric %.*s in this layout\n", static_cast<int>(name.size()), name.data());
    std::abort();
  }
  return cells_ + *index;
}

Lease::Lease(Store& store, std::string prefix) : store_(&store), prefix_(std::move(prefix)) {
  store_->add_lease(prefix_);
}

Lease::~Lease() {
  if (store_ != nullptr) store_->end_lease(prefix_);
}

}  // namespace sluice::stats
