#include "proxy/upstream/hash_table.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <tuple>

#include "core/xxhash.h"

namespace sluice::upstream {

uint64_t murmur_hash2(std::string_view bytes, uint64_t seed) {
  constexpr uint64_t kMul = 0xc6a4a7935bd1e995;
  auto mix = [](uint64_t v) { return v ^ (v >> 47); };
  auto load = [](const char* p, size_t n) {  // little-endian
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;) v = v << 8 | static_cast<unsigned char>(p[i]);
    return v;
  };
  uint64_t hash = seed ^ (bytes.size() * kMul);
  while (bytes.size() >= 8) {
    hash = (hash ^ (mix(load(bytes.data(), 8) * kMul) * kMul)) * kMul;
    bytes.remove_prefix(8);
  }
  if (!bytes.empty()) hash = (hash ^ load(bytes.data(), bytes.size())) * kMul;
  return mix(mix(hash) * kMul);
}

namespace {

std::string key_of(const Host& host, bool use_hostname) {
  if (!host.description().hash_key.empty()) return host.description().hash_key;
  return use_hostname ? host.hostname() : host.address().to_string();
}

// Ketama: every host at several points of a ring of 2^64, in proportion to its weight; the next point at or behind
// the hash decides.
class Ring final : public HashTable {
 public:
  Ring(const model::LoadBalancing& config, std::vector<Weighted> hosts) : HashTable(std::move(hosts)) {
    double lightest = 1;
    for (const Weighted& h : hosts_) lightest = std::min(lightest, h.weight);
    // The lightest host gets a whole number of points, if that many fit.
    const double scale =
        std::min(std::ceil(lightest * static_cast<double>(config.ring.minimum_size)) / lightest,
                 static_cast<double>(config.ring.maximum_size));
    size_.size = static_cast<uint64_t>(std::ceil(scale));
    size_.min_per_host = size_.size;
    points_.reserve(size_.size);
    // Running sums, so that fractions of points even out over the hosts.
    double made = 0, wanted = 0;
    for (uint32_t i = 0; i < hosts_.size(); ++i) {
      std::string key = key_of(*hosts_[i].host, config.use_hostname_for_hashing) + '_';
      const size_t prefix = key.size();
      wanted += scale * hosts_[i].weight;
      uint64_t n = 0;
      for (; made < wanted; ++n, ++made) {
        key.resize(prefix);
        key += std::to_string(n);
        points_.push_back({config.ring.murmur_hash_2 ? murmur_hash2(key) : xxhash64(key), i});
      }
      size_.min_per_host = std::min(size_.min_per_host, n);
      size_.max_per_host = std::max(size_.max_per_host, n);
    }
    std::ranges::sort(points_, {}, &Point::hash);
  }

 private:
  struct Point {
    uint64_t hash;
    uint32_t host;
  };
  uint32_t index(uint64_t hash, uint32_t attempt) const override {
    size_t at =
        static_cast<size_t>(std::ranges::lower_bound(points_, hash, {}, &Point::hash) - points_.begin());
    if (at == points_.size()) at = 0;
    return points_[(at + attempt) % points_.size()].host;
  }

  std::vector<Point> points_;
};

// Maglev (Eisenbud et al., NSDI 2016, 3.4): hosts take turns to claim places of a table, each in its own order. A host
// of a smaller weight sits turns out.
class Maglev final : public HashTable {
 public:
  Maglev(const model::LoadBalancing& config, std::vector<Weighted> hosts)
      : HashTable(std::move(hosts)), table_(config.maglev_table_size, kFree) {
    struct Builder {
      std::string key;
      uint32_t host;
      uint64_t offset, skip, next = 0, count = 0;
      double weight, due = 0;
    };
    const uint64_t size = table_.size();
    std::vector<Builder> builders;
    double heaviest = 0;
    for (uint32_t i = 0; i < hosts_.size(); ++i) {
      std::string key = key_of(*hosts_[i].host, config.use_hostname_for_hashing);
      builders.push_back({.key = key,
                          .host = i,
                          .offset = xxhash64(key) % size,
                          .skip = xxhash64(key, 1) % (size - 1) + 1,
                          .weight = hosts_[i].weight});
      heaviest = std::max(heaviest, hosts_[i].weight);
    }
    // The order of configuration must not matter.
    std::ranges::sort(builders, {}, [](const Builder& b) { return std::tie(b.key, b.host); });
    uint64_t filled = 0;
    for (uint32_t turn = 1; filled < size; ++turn) {
      for (Builder& b : builders) {
        if (filled == size) break;
        if (turn * b.weight < b.due) continue;
        b.due += heaviest;
        uint64_t place = 0;
        do place = (b.offset + b.skip * b.next++) % size;
        while (table_[place] != kFree);
        table_[place] = b.host;
        ++b.count, ++filled;
      }
    }
    size_ = {.size = size, .min_per_host = size, .max_per_host = 0};
    for (const Builder& b : builders) {
      size_.min_per_host = std::min(size_.min_per_host, b.count);
      size_.max_per_host = std::max(size_.max_per_host, b.count);
    }
  }

 private:
  static constexpr uint32_t kFree = ~0u;
  uint32_t index(uint64_t hash, uint32_t attempt) const override {
    if (attempt > 0) hash ^= ~uint64_t{0} - attempt + 1;
    return table_[hash % table_.size()];
  }

  std::vector<uint32_t> table_;
};

}  // namespace

std::shared_ptr<const HashTable> HashTable::make(const model::LoadBalancing& config,
                                                 std::vector<Weighted> hosts) {
  if (hosts.empty()) return nullptr;
  std::shared_ptr<HashTable> table;
  if (config.policy == model::LbPolicy::ring_hash)
    table = std::make_shared<Ring>(config, std::move(hosts));
  else if (config.policy == model::LbPolicy::maglev)
    table = std::make_shared<Maglev>(config, std::move(hosts));
  if (table) table->balance_factor_ = config.hash_balance_factor;
  return table;
}

const HostPtr* HashTable::choose(uint64_t hash, uint32_t attempt) const {
  uint32_t i = index(hash, attempt);
  return balance_factor_ == 0 ? &hosts_[i].host : least_loaded(hash, i);
}

// Consistent hashing with bounded loads (Mirrokni et al., 2018): no host gets more than its share times the factor.
// The hosts that are tried instead come in Envoy's order: shuffled by a Mersenne twister with the hash as its seed.
const HostPtr* HashTable::least_loaded(uint64_t hash, uint32_t first) const {
  uint64_t all = 0;
  for (const Weighted& h : hosts_) all += h.host->active();
  const auto slots = static_cast<double>(((all + 1) * balance_factor_ + 99) / 100);
  auto load = [&](const Weighted& h) {
    return static_cast<double>(h.host->active()) / std::max(std::ceil(slots * h.weight), 1.0);
  };
  double least = load(hosts_[first]);
  if (least <= 1) return &hosts_[first].host;
  std::vector<uint32_t> order(hosts_.size());
  std::iota(order.begin(), order.end(), 0u);
  // check-allow: seeded by the hash, so that it repeats
  std::mt19937 random(static_cast<std::mt19937::result_type>(hash));
  auto below = [&](uint32_t bound) {
    uint64_t x = bound;
    while (x >= bound) x = random() / ((uint64_t{1} << 32) / bound);
    return static_cast<uint32_t>(x);
  };
  const Weighted* best = &hosts_[first];
  for (uint32_t i = 0; i < order.size(); ++i) {
    std::swap(order[i], order[i + below(static_cast<uint32_t>(order.size()) - i)]);
    if (order[i] == first) continue;
    const Weighted& other = hosts_[order[i]];
    const double its = load(other);
    if (its <= 1) return &other.host;
    if (its < least) best = &other, least = its;
  }
  return &best->host;
}

}  // namespace sluice::upstream
