#include "proxy/listener.h"

#include <algorithm>
#include <unordered_set>

namespace sluice::proxy {

ListenerStats::ListenerStats(const stats::Scope& root, const std::string& prefix, unsigned worker) {
  stats::Scope s = root.scope("listener").scope(prefix);
  cx_total = s.counter("downstream_cx_total");
  cx_destroy = s.counter("downstream_cx_destroy");
  cx_overflow = s.counter("downstream_cx_overflow");
  no_filter_chain_match = s.counter("no_filter_chain_match");
  pre_cx_timeout = s.counter("downstream_pre_cx_timeout");
  transport_timeout = s.counter("downstream_cx_transport_socket_connect_timeout");
  listener_filter_remote_close = s.counter("downstream_listener_filter_remote_close");
  listener_filter_error = s.counter("downstream_listener_filter_error");
  cx_active = s.gauge("downstream_cx_active");
  pre_cx_active = s.gauge("downstream_pre_cx_active");
  cx_length_ms = s.histogram("downstream_cx_length_ms", stats::Unit::milliseconds);
  stats::Scope w = s.scope("worker_" + std::to_string(worker));
  worker_cx_total = w.counter("downstream_cx_total");
  worker_cx_active = w.gauge("downstream_cx_active");
}

std::string stat_name(const Address& address) {
  std::string s = address.to_string();
  std::replace(s.begin(), s.end(), ':', '_');
  return s;
}

std::string stat_prefix(const model::Listener& listener) {
  return listener.stat_prefix.empty() ? stat_name(listener.address) : listener.stat_prefix;
}

bool Drain::ends_now(MonotonicTime now, Random& random) const {
  if (!plan.gradual || now >= end()) return true;
  const auto whole = static_cast<uint64_t>(plan.time.count());
  return random.below(whole) < static_cast<uint64_t>((now - begun).count());
}

bool Drain::tells_now(MonotonicTime now, Duration passed, Random& random) const {
  if (!plan.gradual) return true;
  passed = std::min(passed, now - begun);
  const Duration left = end() - plan.time / 10 - now + passed;
  return left <= passed ||
         random.below(static_cast<uint64_t>(left.count())) < static_cast<uint64_t>(passed.count());
}

ListenerRuntime::ListenerRuntime(std::shared_ptr<const model::Listener> c, const stats::Scope& root,
                                 io::Loop& loop, unsigned worker, const ListenerRuntime* before)
    : config(std::move(c)) {
  const std::string prefix = stat_prefix(*config);
  if (before && stat_prefix(*before->config) == prefix)
    shared = before->shared;
  else
    shared = std::make_shared<Shared>(root, prefix, worker);
  stats::Scope scope = root.scope("listener").scope(prefix);
  for (const auto& f : config->listener_filters) listener_filters.push_back(f.factory(scope));

  std::unordered_map<uint64_t, std::shared_ptr<Chain>> old;
  if (before && before->config->frame_hash == config->frame_hash && config->frame_hash != 0)
    for (const auto& chain : before->chains_not_in(nullptr)) old.emplace(chain->config->hash, chain);
  auto make = [&](const std::shared_ptr<const model::FilterChain>& chain) {
    if (auto it = old.find(chain->hash); it != old.end()) return it->second;
    auto made = std::make_shared<Chain>();
    made->config = chain;
    if (chain->transport) made->transport = chain->transport({.stats = scope, .loop = loop});
    for (const auto& f : chain->filters) made->filters.push_back(f({root, scope, config->buffer_limit}));
    return made;
  };
  chains.reserve(config->filter_chains.size());
  for (const auto& chain : config->filter_chains) chains.push_back(make(chain));
  if (config->default_filter_chain) default_chain = make(config->default_filter_chain);
}

ListenerRuntime::Chain* ListenerRuntime::find_chain(const model::FilterChainMatchInput& input) const {
  int i = config->matcher.find(input);
  if (i != model::FilterChainMatcher::kNone) return chains[static_cast<size_t>(i)].get();
  return default_chain.get();
}

std::vector<std::shared_ptr<ChainRuntime>> ListenerRuntime::chains_not_in(
    const ListenerRuntime* after) const {
  std::unordered_set<const Chain*> kept;
  if (after) {
    for (const auto& chain : after->chains) kept.insert(chain.get());
    kept.insert(after->default_chain.get());
  }
  std::vector<std::shared_ptr<Chain>> out;
  for (const auto& chain : chains)
    if (!kept.contains(chain.get())) out.push_back(chain);
  if (default_chain && !kept.contains(default_chain.get())) out.push_back(default_chain);
  return out;
}

ListenerPtr Listeners::put(ListenerPtr listener) {
  ListenerPtr before = remove(*listener->config->name);
  by_address_.try_emplace(listener->config->address, listener);
  for (const Address& a : listener->config->additional_addresses) by_address_.try_emplace(a, listener);
  by_name_[*listener->config->name] = std::move(listener);
  return before;
}

ListenerPtr Listeners::remove(const std::string& name) {
  auto it = by_name_.find(name);
  if (it == by_name_.end()) return nullptr;
  ListenerPtr gone = std::move(it->second);
  by_name_.erase(it);
  forget_addresses(*gone);
  return gone;
}

void Listeners::forget_addresses(const ListenerRuntime& listener) {
  auto forget = [&](const Address& a) {
    if (auto it = by_address_.find(a); it != by_address_.end() && it->second.get() == &listener)
      by_address_.erase(it);
  };
  forget(listener.config->address);
  for (const Address& a : listener.config->additional_addresses) forget(a);
}

ListenerPtr Listeners::by_address(const Address& address) const {
  if (auto it = by_address_.find(address); it != by_address_.end()) return it->second;
  if (!address.is_ip()) return nullptr;
  IpAddress any = address.ip().is_v4() ? IpAddress::v4(0) : IpAddress::v6({});
  if (auto it = by_address_.find(Address(any, address.port())); it != by_address_.end()) return it->second;
  // 0.0.0.0:PORT also stands for IPv6 destinations where nobody has [::]:PORT: with eBPF one listener serves both.
  if (address.ip().is_v6())
    if (auto it = by_address_.find(Address(IpAddress::v4(0), address.port())); it != by_address_.end())
      return it->second;
  return nullptr;
}

ListenerPtr Listeners::by_name(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

}  // namespace sluice::proxy
