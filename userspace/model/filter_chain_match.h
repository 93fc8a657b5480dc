#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/result.h"

namespace sluice::model {

// envoy.config.listener.v3.FilterChainMatch. An empty list or absent value matches everything.
struct FilterChainMatch {
  enum class SourceType : uint8_t { any, same_ip_or_loopback, external };
  std::optional<uint16_t> destination_port;
  std::vector<Cidr> prefix_ranges;
  std::vector<std::string> server_names;          // lower case; "*.example.com" allowed
  std::string transport_protocol;
  std::vector<std::string> application_protocols;
  std::vector<Cidr> direct_source_prefix_ranges;
  SourceType source_type = SourceType::any;
  std::vector<Cidr> source_prefix_ranges;
  std::vector<uint16_t> source_ports;
};

// What a connection offers to the match.
struct FilterChainMatchInput {
  Address destination;                            // restored original destination, else the local address
  Address source;
  Address direct_source;
  std::string_view server_name;
  std::string_view transport_protocol;
  std::span<const std::string> application_protocols;
};

// Picks the most specific chain, criterion by criterion in Envoy's order: destination port, destination IP, server
// name, transport protocol, application protocols, direct source IP, source type, source IP, source port. A criterion
// that matched more specifically is not taken back when a later one fails (Envoy: no backtracking).
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto
class FilterChainMatcher {
 public:
  FilterChainMatcher();
  ~FilterChainMatcher();
  FilterChainMatcher(FilterChainMatcher&&) noexcept;
  FilterChainMatcher& operator=(FilterChainMatcher&&) noexcept;

  // `matches[i]` belongs to chain i. Refuses two chains with the same criteria; the error names both by `names`.
  static Result<FilterChainMatcher> build(std::span<const FilterChainMatch> matches,
                                          std::span<const std::string> names);

  static constexpr int kNone = -1;
  int find(const FilterChainMatchInput& input) const;  // index of the chain, or kNone

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace sluice::model
