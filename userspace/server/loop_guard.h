#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/address.h"
#include "sluice/ext/upstream.h"

namespace sluice::server {

// Refuses this proxy's own listeners as an original destination: a connection that was sent there would come back for
// ever. The BPF programs refuse it too (marked sockets); this one also holds behind iptables.
class LoopGuard {
 public:
  void add_port(uint16_t port) { words_[port / 64].fetch_or(1ull << port % 64, std::memory_order_relaxed); }

  // Any thread. A destination is ours if a listener has its port and it is the address that the connection came in on,
  // or loopback.
  bool refuses(const Address& destination, const ext::Upstream::Origin& origin) const {
    uint16_t port = destination.port();
    if (!(words_[port / 64].load(std::memory_order_relaxed) >> port % 64 & 1)) return false;
    if (destination.ip().is_loopback()) return true;
    return origin.stream && destination.ip() == origin.stream->downstream_direct_local.ip();
  }

 private:
  std::array<std::atomic<uint64_t>, 1024> words_{};
};

}  // namespace sluice::server
