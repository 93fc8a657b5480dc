// ListenerFilter.filter_disabled.
#include "config/translate_listener_filter.h"

#include <algorithm>
#include <bitset>

#include "envoy/config/listener/v3/listener_components.pb.h"

namespace sluice::config {

namespace {

using Predicate = envoy::config::listener::v3::ListenerFilterChainMatchPredicate;

constexpr size_t kPorts = 1 << 16;
// By port; the last one stands for addresses without a port.
using Matches = std::bitset<kPorts + 1>;

// Half open. Envoy reads the numbers as unsigned ones, and takes every range for one that an address without a port is in.
Matches in_range(const envoy::type::v3::Int32Range& in) {
  Matches out;
  const auto end = std::min<size_t>(static_cast<uint32_t>(in.end()), kPorts);
  for (size_t port = static_cast<uint32_t>(in.start()); port < end; ++port) out.set(port);
  out.set(kPorts);
  return out;
}

Matches evaluate(const Predicate& in) {
  Matches out;
  switch (in.rule_case()) {
    case Predicate::kOrMatch:
      for (const Predicate& rule : in.or_match().rules()) out |= evaluate(rule);
      return out;
    case Predicate::kAndMatch:
      out.set();
      for (const Predicate& rule : in.and_match().rules()) out &= evaluate(rule);
      return out;
    case Predicate::kNotMatch:
      return ~evaluate(in.not_match());
    case Predicate::kDestinationPortRange:
      return in_range(in.destination_port_range());
    case Predicate::kAnyMatch:
    case Predicate::RULE_NOT_SET:  // which validate() refuses
      return out.set();
  }
  return out;
}

}  // namespace

PortSet to_port_set(const Predicate& in) {
  const Matches matches = evaluate(in);
  PortSet out;
  for (size_t first = 0; first < kPorts; ++first) {
    if (!matches[first]) continue;
    size_t last = first;
    while (last + 1 < kPorts && matches[last + 1]) ++last;
    out.add(static_cast<uint16_t>(first), static_cast<uint16_t>(last));
    first = last;
  }
  if (matches[kPorts]) out.add_portless();
  return out;
}

}  // namespace sluice::config
