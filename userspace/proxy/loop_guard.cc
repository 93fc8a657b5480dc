#include "proxy/loop_guard.h"

#include <algorithm>

namespace sluice::proxy {

void LoopGuard::add(uint64_t netns_cookie, const Address& bound) {
  if (bound.is_ip()) bound_[{netns_cookie, bound.port()}].push_back(bound.ip());
}

void LoopGuard::remove(uint64_t netns_cookie, const Address& bound) {
  if (!bound.is_ip()) return;
  auto it = bound_.find({netns_cookie, bound.port()});
  if (it == bound_.end()) return;
  if (auto one = std::find(it->second.begin(), it->second.end(), bound.ip()); one != it->second.end())
    it->second.erase(one);
  if (it->second.empty()) bound_.erase(it);
}

bool LoopGuard::refuses(const Address& destination, const ext::Upstream::Origin& origin) const {
  auto it = bound_.find({origin.netns_cookie, destination.port()});
  if (it == bound_.end()) return false;
  IpAddress ip = destination.ip();
  auto is = [&](const Address& a) { return a.is_ip() && a.ip() == ip; };
  bool local = ip.is_loopback() || (origin.stream && (is(origin.stream->downstream_direct_local) ||
                                                      is(origin.stream->downstream_direct_remote)));
  return std::any_of(it->second.begin(), it->second.end(), [&](const IpAddress& at) {
    // [::] may serve IPv4 as well (ipv4_compat).
    return at == ip || (local && at.is_any() && (at.is_v6() || ip.is_v4()));
  });
}

}  // namespace sluice::proxy
