#include <algorithm>
#include <cassert>
#include <new>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "core/stats.h"

namespace sluice::stats {
namespace {

constexpr size_t kChunkBytes = 4096;
// Two cache lines, because the prefetcher takes them in pairs: no two threads write within one.
constexpr size_t kChunkAlignment = 128;

HistogramCells* histogram_of(uint64_t cell) {
  return reinterpret_cast<HistogramCells*>(static_cast<uintptr_t>(cell));
}

}  // namespace

// The cells of all scopes with one layout. A scope has the same place in every thread's chunks; a thread has chunks only
// where it counts.
class Store::Pool {
 public:
  // One more slot than threads: what counters held at the last reset.
  Pool(uint32_t width, unsigned threads)
      : width_(width),
        per_chunk_(std::max<uint32_t>(1, static_cast<uint32_t>(kChunkBytes / sizeof(Cell) / width))),
        slots_(threads + 1) {}
  Pool(const Pool&) = delete;

  uint32_t take() {
    if (free_.empty()) return used_++;
    const uint32_t place = free_.back();
    free_.pop_back();
    return place;
  }

  // `histogram(i)`: whether cell i of the place is one.
  template <typename F>
  void give_back(uint32_t place, F histogram) {
    for (unsigned slot = 0; slot < slots_.size(); ++slot) {
      Cell* cells = find(place, slot);
      for (uint32_t i = 0; cells != nullptr && i < width_; ++i) {
        const uint64_t held = cells[i].exchange(0, std::memory_order_acq_rel);
        if (histogram(i)) delete histogram_of(held);
      }
    }
    free_.push_back(place);
  }

  Cell* get(uint32_t place, unsigned slot) {
    auto& chunks = slots_[slot];
    const uint32_t chunk = place / per_chunk_;
    if (chunk >= chunks.size()) chunks.resize(chunk + 1);
    if (!chunks[chunk]) {
      chunks[chunk].reset(static_cast<Cell*>(::operator new(chunk_bytes(), kAlignment)));
      std::uninitialized_value_construct_n(chunks[chunk].get(), width_ * per_chunk_);
    }
    return find(place, slot);
  }
  Cell* find(uint32_t place, unsigned slot) const {
    const auto& chunks = slots_[slot];
    const uint32_t chunk = place / per_chunk_;
    if (chunk >= chunks.size() || !chunks[chunk]) return nullptr;
    return chunks[chunk].get() + place % per_chunk_ * width_;
  }
  uint64_t read(uint32_t place, uint32_t i, unsigned slot,
                std::memory_order order = std::memory_order_relaxed) const {
    const Cell* cells = find(place, slot);
    return cells != nullptr ? cells[i].load(order) : 0;
  }
  std::vector<uint32_t> histograms;  // which cells of a place are

  size_t memory() const {
    size_t n = 0;
    for (const auto& chunks : slots_)
      for (const auto& chunk : chunks) n += chunk ? chunk_bytes() : 0;
    return n;
  }

 private:
  static constexpr std::align_val_t kAlignment{kChunkAlignment};
  struct Free {
    void operator()(Cell* cells) const { ::operator delete(cells, kAlignment); }
  };
  size_t chunk_bytes() const {
    const size_t bytes = sizeof(Cell) * width_ * per_chunk_;
    return (bytes + kChunkAlignment - 1) / kChunkAlignment * kChunkAlignment;
  }

  const uint32_t width_, per_chunk_;
  std::vector<std::vector<std::unique_ptr<Cell, Free>>> slots_;
  std::vector<uint32_t> free_;
  uint32_t used_ = 0;
};

// The metrics whose names are alike up to their last dot.
struct Store::Group {
  struct Part {
    const Layout* layout;
    Pool* pool;
    uint32_t place;
  };
  struct Single {
    std::string name;
    Kind kind;
    Unit unit;
    uint32_t place;

    auto key() const { return std::tuple(std::string_view(name), kind); }
  };
  std::vector<Part> parts;
  std::vector<Single> singles;  // by name and kind
  std::vector<std::pair<std::string, std::string>> texts;  // by name; few
  uint32_t leases = 0;  // of its prefix
  const std::string* prefix = nullptr;
  bool empty() const { return parts.empty() && singles.empty() && texts.empty(); }

  std::vector<Single>::iterator find_single(std::string_view name, Kind kind) {
    return std::lower_bound(singles.begin(), singles.end(), std::tuple(name, kind),
                            [](const Single& s, const auto& key) { return s.key() < key; });
  }
  std::vector<Ref> metrics(const Store& store, std::optional<Kind> kind) const;  // its own, by name and kind
  bool recorded(const Store& store) const;
};

// One metric, or a part of it: a name may stand in two layouts of one scope.
struct Store::Ref {
  std::string_view name;
  Kind kind;
  Unit unit;
  const Pool* pool;
  uint32_t place, index;
  const std::string* text;

  auto key() const { return std::tuple(name, kind); }
};

// All groups, by the part of the names up to their last dot.
class Store::Groups {
 public:
  Groups() { get(""); }  // always there

  Group& get(std::string_view prefix) {
    // Who makes a metric mostly makes its neighbours, too.
    if (last_ != nullptr && *last_->prefix == prefix) return *last_;
    auto at = by_prefix_.find(prefix);
    if (at == by_prefix_.end()) {
      at = by_prefix_.try_emplace(std::string(prefix)).first;
      at->second.prefix = &at->first;
      new_.push_back(&at->second);
    }
    return *(last_ = &at->second);
  }
  const Group* find(std::string_view prefix) const {
    const auto at = by_prefix_.find(prefix);
    return at == by_prefix_.end() ? nullptr : &at->second;
  }
  // Sorted when somebody wants them so: thousands of prefixes that begin alike are slow to compare.
  SortedGroups& sorted() {
    if (new_.empty()) return sorted_;
    const auto by_prefix = [](const Group* a, const Group* b) { return *a->prefix < *b->prefix; };
    std::ranges::sort(new_, by_prefix);
    SortedGroups merged(sorted_.size() + new_.size());
    std::ranges::merge(sorted_, new_, merged.begin(), by_prefix);
    sorted_ = std::move(merged);
    new_.clear();
    return sorted_;
  }
  SortedGroups::iterator first_from(std::string_view prefix) {
    return std::ranges::lower_bound(sorted(), prefix, {},
                                    [](const Group* g) { return std::string_view(*g->prefix); });
  }
  // Of those of sorted().
  template <typename F>
  void erase(SortedGroups::iterator from, SortedGroups::iterator to, F wanted) {
    last_ = nullptr;
    sorted_.erase(std::remove_if(from, to,
                                 [&](Group* g) {
                                   if (!wanted(*g)) return false;
                                   with_histograms.erase(g);
                                   by_prefix_.erase(by_prefix_.find(*g->prefix));
                                   return true;
                                 }),
                  to);
  }
  template <typename F>
  void for_each(F f) {
    for (auto& [prefix, group] : by_prefix_) f(group);
  }

  // Every few seconds somebody asks for what was recorded in histograms, and thousands of clusters that nobody calls
  // recorded nothing.
  std::unordered_set<const Group*> with_histograms;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view prefix) const { return std::hash<std::string_view>()(prefix); }
  };
  std::unordered_map<std::string, Group, Hash, std::equal_to<>> by_prefix_;
  Group* last_ = nullptr;  // that was got
  SortedGroups sorted_, new_;  // each is in one of them
};

Store::Store(unsigned slots)
    : slots_(slots), groups_(std::make_unique<Groups>()), singles_(std::make_unique<Pool>(1, slots)) {
  assert(slots > 0);
}

Store::~Store() {
  groups_->for_each([&](Group& g) { drop(g); });
}

Store::Pool& Store::pool(const Layout& layout) {
  auto& p = pools_[&layout];
  if (p) return *p;
  p = std::make_unique<Pool>(static_cast<uint32_t>(layout.items().size()), slots_);
  for (uint32_t i = 0; i < layout.items().size(); ++i)
    if (layout.items()[i].kind == Kind::histogram) p->histograms.push_back(i);
  return *p;
}

namespace {

// A full name in two: up to the last dot, and the rest. `buffer` holds them where `name` has a dot itself.
std::pair<std::string_view, std::string_view> split(std::string_view prefix, std::string_view name,
                                                    std::string& buffer) {
  if (name.find('.') == std::string_view::npos) return {prefix, name};
  buffer = prefix;
  buffer += name;
  const std::string_view whole = buffer;
  const size_t end = whole.rfind('.') + 1;
  return {whole.substr(0, end), whole.substr(end)};
}

}  // namespace

Cell* Store::cell(std::string_view prefix, std::string_view name, Kind kind, Unit unit, unsigned slot) {
  assert(slot < slots_);
  std::string buffer;
  const auto [in, leaf] = split(prefix, name, buffer);
  std::lock_guard lock(mutex_);
  Group& g = groups_->get(in);
  for (const Group::Part& part : g.parts) {
    if (const auto index = part.layout->find(leaf, kind)) return part.pool->get(part.place, slot) + *index;
  }
  if (kind == Kind::histogram) groups_->with_histograms.insert(&g);
  auto it = g.find_single(leaf, kind);
  if (it == g.singles.end() || it->key() != std::tuple(leaf, kind))
    it = g.singles.insert(it, {std::string(leaf), kind, unit, singles_->take()});
  return singles_->get(it->place, slot);
}

Cell* Store::block(const std::string& prefix, const Layout& layout, std::optional<unsigned> slot) {
  std::lock_guard lock(mutex_);
  Group& g = groups_->get(prefix);
  auto part = std::ranges::find(g.parts, &layout, &Group::Part::layout);
  if (part == g.parts.end()) {
    Pool& p = pool(layout);
    part = g.parts.insert(part, {&layout, &p, p.take()});
    if (!p.histograms.empty()) groups_->with_histograms.insert(&g);
  }
  return slot ? part->pool->get(part->place, *slot) : nullptr;
}

void Store::set_text(std::string_view prefix, std::string_view name, std::string value) {
  std::string buffer;
  const auto [in, leaf] = split(prefix, name, buffer);
  std::lock_guard lock(mutex_);
  auto& texts = groups_->get(in).texts;
  const auto at =
      std::ranges::lower_bound(texts, leaf, {}, [](const auto& t) { return std::string_view(t.first); });
  if (at != texts.end() && at->first == leaf)
    at->second = std::move(value);
  else
    texts.emplace(at, leaf, std::move(value));
}

// ---- leases ----

void Store::add_lease(const std::string& prefix) {
  std::lock_guard lock(mutex_);
  ++groups_->get(prefix).leases;
}

// Whether `prefix` or a shorter one that it starts with is leased.
bool Store::leased(std::string_view prefix) const {
  for (size_t end = prefix.size(); end != 0; end = end < 2 ? 0 : prefix.rfind('.', end - 2) + 1) {
    if (const Group* const g = groups_->find(prefix.substr(0, end)); g != nullptr && g->leases > 0)
      return true;
  }
  return false;
}

void Store::end_lease(const std::string& prefix) {
  std::lock_guard lock(mutex_);
  if (--groups_->get(prefix).leases > 0) return;
  const auto from = groups_->first_from(prefix);
  const auto to = std::find_if(from, groups_->sorted().end(),
                               [&](const Group* g) { return !g->prefix->starts_with(prefix); });
  groups_->erase(from, to, [&](Group& g) {
    if (g.prefix->empty() || leased(*g.prefix)) return false;
    drop(g);
    return true;
  });
}

void Store::drop(Group& g) {
  for (const Group::Part& part : g.parts)
    part.pool->give_back(part.place,
                         [&](uint32_t i) { return part.layout->items()[i].kind == Kind::histogram; });
  for (const Group::Single& single : g.singles)
    singles_->give_back(single.place, [&](uint32_t) { return single.kind == Kind::histogram; });
}

// ---- what others see ----

void Store::add_to(MetricSnapshot& to, const Ref& m) const {
  if (m.kind == Kind::text) return;
  const Pool& pool = *m.pool;
  switch (m.kind) {
    case Kind::counter: {
      uint64_t total = 0;
      for (unsigned slot = 0; slot < slots_; ++slot) total += pool.read(m.place, m.index, slot);
      to.value += total - pool.read(m.place, m.index, slots_);
      to.used |= total != 0;
      return;
    }
    case Kind::gauge:
      for (unsigned slot = 0; slot < slots_; ++slot) {
        const uint64_t v = pool.read(m.place, m.index, slot);
        to.value += Gauge::value_of(v);
        to.used |= v != 0;
      }
      return;
    case Kind::histogram:
      for (unsigned slot = 0; slot < slots_; ++slot) {
        const HistogramCells* h = histogram_of(pool.read(m.place, m.index, slot, std::memory_order_acquire));
        if (h == nullptr) continue;
        HistogramSnapshot& all = *to.histogram;
        all.buckets.resize(HistogramCells::kBuckets);
        for (unsigned b = 0; b < HistogramCells::kBuckets; ++b) {
          const uint64_t n = h->buckets[b].load(std::memory_order_relaxed);
          all.buckets[b] += n;
          all.count += n;
        }
        all.sum += h->sum.load(std::memory_order_relaxed);
      }
      to.used = to.histogram->count != 0;
      return;
    case Kind::text:
      return;
  }
}

std::vector<Store::Ref> Store::Group::metrics(const Store& store, std::optional<Kind> kind) const {
  std::vector<Ref> own;
  auto wanted = [&](Kind k) { return !kind || k == *kind; };
  for (const Part& part : parts) {
    const auto& items = part.layout->items();
    for (uint32_t i = 0; i < items.size(); ++i)
      if (wanted(items[i].kind))
        own.push_back({items[i].name, items[i].kind, items[i].unit, part.pool, part.place, i, nullptr});
  }
  for (const Single& s : singles)
    if (wanted(s.kind)) own.push_back({s.name, s.kind, s.unit, store.singles_.get(), s.place, 0, nullptr});
  if (wanted(Kind::text))
    for (const auto& [name, text] : texts)
      own.push_back({name, Kind::text, Unit::none, nullptr, 0, 0, &text});
  std::sort(own.begin(), own.end(), [](const Ref& a, const Ref& b) { return a.key() < b.key(); });
  return own;
}

// Whether there is a value in one of its histograms: a look at the cells, without making anything.
bool Store::Group::recorded(const Store& store) const {
  auto held = [&](const Pool& pool, uint32_t place, uint32_t i) {
    for (unsigned slot = 0; slot < store.slots_; ++slot)
      if (pool.read(place, i, slot) != 0) return true;
    return false;
  };
  for (const Part& part : parts)
    for (const uint32_t i : part.pool->histograms)
      if (held(*part.pool, part.place, i)) return true;
  return std::ranges::any_of(singles, [&](const Single& s) {
    return s.kind == Kind::histogram && held(*store.singles_, s.place, 0);
  });
}

// Adds the metrics of the group at `at` and of all groups within it, by full name; leaves `at` behind them.
void Store::print(SortedGroups::const_iterator& at, SortedGroups::const_iterator end,
                  std::optional<Kind> kind, bool used_only, std::vector<MetricSnapshot>& out) const {
  const std::string& prefix = *(*at)->prefix;
  const std::vector<Ref> own = (*at)->metrics(*this, kind);
  auto next = own.begin();
  auto put = [&] {
    MetricSnapshot s;
    s.kind = next->kind;
    s.unit = next->unit;
    if (s.kind == Kind::histogram) s.histogram = std::make_shared<HistogramSnapshot>();
    if (next->text != nullptr) s.text = *next->text, s.used = true;
    const auto first = next;
    for (; next != own.end() && next->key() == first->key(); ++next) add_to(s, *next);
    if (used_only && !s.used) return;
    s.name = prefix;
    s.name += first->name;
    out.push_back(std::move(s));
  };
  // All names of an inner group start with its prefix, and no name of this group does.
  for (++at; at != end && (*at)->prefix->starts_with(prefix); print(at, end, kind, used_only, out)) {
    const std::string_view inner = std::string_view(*(*at)->prefix).substr(prefix.size());
    while (next != own.end() && next->name < inner) put();
  }
  while (next != own.end()) put();
}

std::vector<MetricSnapshot> Store::snapshot(std::optional<Kind> kind, bool used_only) const {
  std::vector<MetricSnapshot> out;
  std::unique_lock lock(mutex_);
  if (kind == Kind::histogram && used_only) {
    for (const Group* group : groups_->with_histograms) {
      if (!group->recorded(*this)) continue;
      const std::vector<Ref> own = group->metrics(*this, kind);
      for (auto next = own.begin(); next != own.end();) {
        MetricSnapshot s;
        s.name = *group->prefix + std::string(next->name);
        s.kind = next->kind;
        s.unit = next->unit;
        s.histogram = std::make_shared<HistogramSnapshot>();
        const auto first = next;
        for (; next != own.end() && next->key() == first->key(); ++next) add_to(s, *next);
        if (s.used) out.push_back(std::move(s));
      }
    }
    lock.unlock();
    std::ranges::sort(out, {}, &MetricSnapshot::name);
    return out;
  }
  SortedGroups::const_iterator at = groups_->sorted().begin();
  if ((*at)->empty()) ++at;  // else all others are within it
  while (at != groups_->sorted().end()) {
    print(at, groups_->sorted().end(), kind, used_only, out);
    if (at == groups_->sorted().end()) break;
    // A worker that wants a handle must not wait for all of thousands of clusters.
    const std::string next = *(*at)->prefix;
    lock.unlock();
    lock.lock();
    at = groups_->first_from(next);
  }
  return out;
}

void Store::reset_counters() {
  std::lock_guard lock(mutex_);
  auto reset = [&](Pool& pool, uint32_t place, uint32_t i) {
    uint64_t total = 0;
    for (unsigned slot = 0; slot < slots_; ++slot) total += pool.read(place, i, slot);
    if (total != pool.read(place, i, slots_)) pool.get(place, slots_)[i].store(total);
  };
  groups_->for_each([&](Group& g) {
    for (const Group::Part& part : g.parts) {
      for (uint32_t i = 0; i < part.layout->items().size(); ++i)
        if (part.layout->items()[i].kind == Kind::counter) reset(*part.pool, part.place, i);
    }
    for (const Group::Single& s : g.singles)
      if (s.kind == Kind::counter) reset(*singles_, s.place, 0);
  });
}

size_t Store::memory() const {
  std::lock_guard lock(mutex_);
  size_t n = singles_->memory();
  for (const auto& [layout, pool] : pools_) n += pool->memory();
  return n;
}

}  // namespace sluice::stats
