#include "proxy/listener.h"

#include <algorithm>

namespace sluice::proxy {

ListenerStats::ListenerStats(const stats::Scope& root, const std::string& prefix, unsigned worker) {
  stats::Scope s = root.scope("listener").scope(prefix);
  cx_total = s.counter("downstream_cx_total");
  cx_destroy = s.counter("downstream_cx_destroy");
  cx_overflow = s.counter("downstream_cx_overflow");
  no_filter_chain_match = s.counter("no_filter_chain_match");
  pre_cx_timeout = s.counter("downstream_pre_cx_timeout");
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

ListenerRuntime::ListenerRuntime(std::shared_ptr<const model::Listener> c, const stats::Scope& root,
                                 unsigned worker)
    : config(std::move(c)), stats(root, stat_prefix(*config), worker) {
  stats::Scope scope = root.scope("listener").scope(stat_prefix(*config));
  for (const auto& f : config->listener_filters) listener_filters.push_back(f(scope));
  auto make = [&](const std::shared_ptr<const model::FilterChain>& chain) {
    Chain r{chain, {}};
    for (const auto& f : chain->filters) r.filters.push_back(f({root, scope, config->buffer_limit}));
    return r;
  };
  for (const auto& chain : config->filter_chains) chains.push_back(make(chain));
  if (config->default_filter_chain)
    default_chain = std::make_unique<Chain>(make(config->default_filter_chain));
}

const ListenerRuntime::Chain* ListenerRuntime::find_chain(const model::FilterChainMatchInput& input) const {
  int i = config->matcher.find(input);
  if (i != model::FilterChainMatcher::kNone) return &chains[static_cast<size_t>(i)];
  return default_chain.get();
}

ListenerIndex::ListenerIndex(const model::ConfigSet& config, const stats::Scope& root, unsigned worker) {
  for (const auto& l : config.listeners) {
    auto runtime = std::make_shared<ListenerRuntime>(l, root, worker);
    by_config_[l.get()] = runtime;
    by_address_.try_emplace(l->address, runtime);
    for (const Address& a : l->additional_addresses) by_address_.try_emplace(a, runtime);
  }
}

std::shared_ptr<ListenerRuntime> ListenerIndex::by_address(const Address& address) const {
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

std::shared_ptr<ListenerRuntime> ListenerIndex::by_config(const model::Listener* config) const {
  auto it = by_config_.find(config);
  return it == by_config_.end() ? nullptr : it->second;
}

}  // namespace sluice::proxy
