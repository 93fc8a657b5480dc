#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "model/cluster.h"
#include "proxy/upstream/host.h"

namespace sluice::upstream {

// MurmurHash2 for 64 bits as libstdc++ has it, which is Envoy's MURMUR_HASH_2 (with seed 0xc70f6907).
uint64_t murmur_hash2(std::string_view bytes, uint64_t seed = 0xc70f6907);

// What RING_HASH and MAGLEV look a request's hash up in. Made on the control thread for each set of hosts, immutable.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers
class HashTable {
 public:
  struct Weighted {
    HostPtr host;
    double weight;  // all of them together: 1
  };
  // Of the table as built, for ring_hash_lb.* and maglev_lb.*.
  struct Size {
    uint64_t size = 0, min_per_host = 0, max_per_host = 0;
  };

  virtual ~HashTable() = default;
  // Null for LB policies without a table, and for no hosts.
  static std::shared_ptr<const HashTable> make(const model::LoadBalancing& config,
                                               std::vector<Weighted> hosts);

  // `attempt`: 0, or how many hosts before this one were rejected. With hash_balance_factor a host with more than
  // its share of `active` requests (of all hosts) is passed over, in an order that depends on `hash` alone.
  const HostPtr* choose(uint64_t hash, uint32_t attempt) const;
  const Size& size() const { return size_; }

 protected:
  explicit HashTable(std::vector<Weighted> hosts) : hosts_(std::move(hosts)) {}
  virtual uint32_t index(uint64_t hash, uint32_t attempt) const = 0;  // into hosts_

  std::vector<Weighted> hosts_;
  Size size_;
  uint32_t balance_factor_ = 0;  // percent; 0: unbounded

 private:
  const HostPtr* least_loaded(uint64_t hash, uint32_t first) const;
};

}  // namespace sluice::upstream
