#include "proxy/upstream/endpoint_hosts.h"

#include <bit>
#include <unordered_set>

namespace sluice::upstream {

namespace {

// Calls f with the description of each host that the endpoints make.
template <typename F>
void for_each_host(const std::vector<model::Locality>& localities, F f) {
  for (const model::Locality& l : localities) {
    auto locality =
        std::make_shared<const HostLocality>(HostLocality{l.region, l.zone, l.sub_zone, l.weight});
    for (const model::Endpoint& e : l.endpoints) {
      if (!e.address.valid()) continue;
      f(Host::Description{.address = e.address,
                          .hostname = e.hostname,
                          .weight = e.weight,
                          .priority = l.priority,
                          .health = e.health,
                          .locality = locality,
                          .canary = e.canary,
                          .hash_key = e.hash_key,
                          .lb_metadata = e.lb_metadata,
                          .transport_metadata = e.transport_metadata,
                          .health_address = health_address(e, e.address),
                          .health_hostname = e.health_hostname,
                          .health_check_disabled = e.health_check_disabled});
    }
  }
}

size_t count(const std::vector<model::Locality>& localities) {
  size_t n = 0;
  for (const model::Locality& l : localities) n += l.endpoints.size();
  return n;
}

// Hosts by address: the first of each.
class ByAddress {
 public:
  explicit ByAddress(size_t most) : places_(std::bit_ceil(most * 2 + 1)) {}
  const HostPtr* find(const Address& address) const { return places_[place(address)]; }
  // False: there is one. The pointer stays good.
  bool add(const HostPtr& host) {
    const HostPtr*& at = places_[place(host->address())];
    if (at != nullptr) return false;
    at = &host;
    return true;
  }

 private:
  size_t place(const Address& address) const {
    const size_t mask = places_.size() - 1;
    size_t i = address.hash() * 0x9E3779B97F4A7C15 >> 32 & mask;
    while (places_[i] != nullptr && (*places_[i])->address() != address) i = (i + 1) & mask;
    return i;
  }
  std::vector<const HostPtr*> places_;  // more than half are free
};

}  // namespace

HostVector hosts_of(const std::vector<model::Locality>& localities, unsigned slots) {
  HostVector hosts;
  hosts.reserve(count(localities));
  for_each_host(localities,
                [&](Host::Description&& d) { hosts.push_back(std::make_shared<Host>(std::move(d), slots)); });
  return hosts;
}

namespace {

bool same(const HostLocality* a, const HostLocality* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return a->weight == b->weight && !(*a < *b) && !(*b < *a);
}

template <typename T>
bool same(const T* a, const T* b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

bool same(const Host::Description& a, const Host::Description& b) {
  return a.address == b.address && a.hostname == b.hostname && a.weight == b.weight &&
         a.priority == b.priority && a.health == b.health && a.canary == b.canary &&
         a.hash_key == b.hash_key && same(a.locality.get(), b.locality.get()) &&
         same(a.lb_metadata.get(), b.lb_metadata.get()) &&
         same(a.transport_metadata.get(), b.transport_metadata.get()) &&
         same(a.health_address.get(), b.health_address.get()) && a.health_hostname == b.health_hostname &&
         a.health_check_disabled == b.health_check_disabled;
}

}  // namespace

HostUpdate update_hosts(const HostVector& before, const std::vector<model::Locality>& localities,
                        unsigned slots) {
  ByAddress known(before.size());
  for (const HostPtr& host : before) known.add(host);
  HostUpdate out;
  const size_t most = count(localities);
  out.hosts.reserve(most);
  ByAddress seen(most);
  size_t kept = 0;
  for_each_host(localities, [&](Host::Description&& d) {
    if (seen.find(d.address) != nullptr) return;
    if (const HostPtr* const at = known.find(d.address); at == nullptr) {
      out.hosts.push_back(std::make_shared<Host>(std::move(d), slots));
    } else {
      ++kept;
      out.hosts.push_back(same((*at)->description(), d) ? *at : std::make_shared<Host>(std::move(d), **at));
    }
    seen.add(out.hosts.back());
  });
  out.membership = kept != out.hosts.size() || kept != before.size();
  out.changed = out.hosts != before;
  return out;
}

bool same_hosts(const HostVector& a, const HostVector& b) {
  if (a.size() != b.size()) return false;
  std::unordered_set<const void*> known;
  for (const HostPtr& host : a) known.insert(host->identity());
  for (const HostPtr& host : b) {
    if (!known.contains(host->identity())) return false;
  }
  return true;
}

}  // namespace sluice::upstream
