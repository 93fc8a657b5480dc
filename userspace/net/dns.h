#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/result.h"
#include "core/stats.h"
#include "io/loop.h"

namespace sluice::net {

// Which addresses are asked for. Envoy's DnsLookupFamily:
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto
enum class DnsFamily : uint8_t {
  auto_,         // IPv6; IPv4 only if there is none
  v4_only,
  v6_only,
  v4_preferred,  // IPv4; IPv6 only if there is none
  all,           // both
};

struct DnsAddress {
  IpAddress ip;
  std::chrono::seconds ttl{};   // 0: not known (/etc/hosts)
};

// A question under way. Destroying it cancels: the callback will not come.
class DnsQuery {
 public:
  virtual ~DnsQuery() = default;
};

class DnsResolver {
 public:
  // An answer without addresses: the name does not exist, or has none of the family. An error: nobody could say.
  using Callback = std::function<void(Result<std::vector<DnsAddress>>)>;

  virtual ~DnsResolver() = default;
  // IP literals, /etc/hosts, then servers, with search domains. `callback` comes once, at the end of a turn of the
  // loop, never from inside resolve(); it may destroy its query.
  virtual std::unique_ptr<DnsQuery> resolve(const std::string& name, DnsFamily family, Callback callback) = 0;
};

struct DnsOptions {
  std::vector<Address> servers;  // empty: those of /etc/resolv.conf
  bool use_tcp = false;
  bool no_search = false;  // names are complete: no search domains
  Duration timeout = std::chrono::seconds(5);  // of the first try; later ones wait longer
  unsigned tries = 4;  // of each server
  // Of questions by UDP from one port; 0: no limit. With the next one comes a new port, which nobody can have guessed. What a
  // question under way needs beside its first datagram (the other family, search domains, repetitions) stays with its port.
  uint32_t udp_max_queries = 0;
  friend bool operator==(const DnsOptions&, const DnsOptions&) = default;
};

// On c-ares, driven by `loop`, which outlives it and runs a turn after it is gone. `stats`: "dns.cares.".
Result<std::unique_ptr<DnsResolver>> make_dns_resolver(io::Loop& loop, const DnsOptions& options,
                                                       stats::Scope stats);

}  // namespace sluice::net
