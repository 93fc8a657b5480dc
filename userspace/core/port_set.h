#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/address.h"

namespace sluice {

// Destinations by their port: ranges of ports, and whether addresses that have none (Unix sockets) are among them.
class PortSet {
 public:
  // Both inclusive, each range behind those before it.
  void add(uint16_t first, uint16_t last) { ranges_.push_back({first, last}); }
  void add_portless() { portless_ = true; }

  bool contains(const Address& address) const {
    if (ranges_.empty() && !portless_) return false;
    if (!address.is_ip()) return portless_;
    const uint16_t port = address.port();
    const auto it = std::ranges::lower_bound(ranges_, port, {}, &Range::last);
    return it != ranges_.end() && it->first <= port;
  }

 private:
  struct Range {
    uint16_t first, last;
  };
  std::vector<Range> ranges_;
  bool portless_ = false;
};

}  // namespace sluice
