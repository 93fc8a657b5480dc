#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/address.h"
#include "sluice/ext/upstream.h"

namespace sluice::proxy {

// Refuses this proxy's own listening sockets as an original destination: a connection that was sent there would come back
// for ever. The BPF programs refuse it too (marked sockets); this one also holds behind iptables. One a worker, which has
// a socket of every listener; only its thread touches it.
//
// The same address is another socket in another network namespace: a pod's 0.0.0.0:8080 is not the node's.
class LoopGuard final : public ext::OwnListeners {
 public:
  // A listening socket comes and goes; `netns_cookie` 0: the proxy's own namespace. Each add has its remove.
  void add(uint64_t netns_cookie, const Address& bound);
  void remove(uint64_t netns_cookie, const Address& bound);

  // Bound to that very address; or to all of them, and the destination is one of the namespace's own: loopback, the
  // address that the connection came in on, or the one it came from (a call to oneself).
  bool refuses(const Address& destination, const ext::Upstream::Origin& origin) const override;

 private:
  struct Key {
    uint64_t netns_cookie;
    uint16_t port;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& k) const { return std::hash<uint64_t>()(k.netns_cookie * 65536 + k.port); }
  };
  std::unordered_map<Key, std::vector<IpAddress>, Hash> bound_;
};

}  // namespace sluice::proxy
