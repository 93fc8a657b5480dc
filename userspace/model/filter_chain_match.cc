#include "model/filter_chain_match.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <unordered_map>
#include <utility>

#include "core/ascii.h"

namespace sluice::model {
namespace {

using Bits = unsigned __int128;

struct Prefix {
  bool v6 = false;
  unsigned len = 0;
  Bits bits = 0;  // the address, most significant bit first; v4 in the low 32 bits
};

Bits to_bits(const IpAddress& ip) {
  Bits b = 0;
  for (unsigned i = 0, n = ip.is_v4() ? 4 : 16; i < n; ++i) b = b << 8 | ip.bytes()[i];
  return b;
}

Bits mask(bool v6, unsigned len) {
  unsigned width = v6 ? 128 : 32;
  Bits ones = v6 ? ~Bits{0} : Bits{0xffffffffu};
  return len == 0 ? Bits{0} : ones & ~(len == width ? Bits{0} : (Bits{1} << (width - len)) - 1);
}

// A prefix inside ::ffff:0:0/96 is the v4 prefix it maps to: connections are looked up unmapped.
Prefix to_prefix(const Cidr& cidr) {
  IpAddress ip = cidr.address();
  if (ip.is_v6() && cidr.prefix_len() >= 96 && ip.unmapped().is_v4()) {
    return {false, cidr.prefix_len() - 96, to_bits(ip.unmapped())};
  }
  return {ip.is_v6(), cidr.prefix_len(), to_bits(ip)};
}

// No prefix: every address of both families.
std::vector<Prefix> to_prefixes(const std::vector<Cidr>& cidrs) {
  if (cidrs.empty()) return {Prefix{false, 0, 0}, Prefix{true, 0, 0}};
  std::vector<Prefix> out;
  out.reserve(cidrs.size());
  for (const Cidr& c : cidrs) out.push_back(to_prefix(c));
  return out;
}

// What is not an IP address (a Unix socket) is looked up as 255.255.255.255, as in Envoy: only wide prefixes match.
struct Key {
  bool v6;
  Bits bits;
  explicit Key(const Address& address) : v6(false), bits(0xffffffffu) {
    if (!address.is_ip()) return;
    IpAddress ip = address.ip().unmapped();
    v6 = ip.is_v6();
    bits = to_bits(ip);
  }
};

// Longest-prefix match: one sorted array for each prefix length that occurs, longest first.
template <typename Node>
class PrefixTable {
 public:
  Node& at(const Prefix& p) {
    auto& groups = groups_[p.v6];
    auto g = std::find_if(groups.begin(), groups.end(), [&](const Group& x) { return x.len <= p.len; });
    if (g == groups.end() || g->len != p.len) g = groups.insert(g, Group{p.len, mask(p.v6, p.len), {}});
    Bits key = p.bits & g->mask;
    auto e = std::lower_bound(g->entries.begin(), g->entries.end(), key, before);
    if (e == g->entries.end() || e->bits != key)
      e = g->entries.insert(e, Entry{key, std::make_unique<Node>()});
    return *e->node;
  }

  const Node* find(const Key& key) const {
    for (const Group& g : groups_[key.v6]) {
      Bits bits = key.bits & g.mask;
      auto e = std::lower_bound(g.entries.begin(), g.entries.end(), bits, before);
      if (e != g.entries.end() && e->bits == bits) return e->node.get();
    }
    return nullptr;
  }

  bool empty() const { return groups_[0].empty() && groups_[1].empty(); }

 private:
  struct Entry {
    Bits bits;
    std::unique_ptr<Node> node;
  };
  struct Group {
    unsigned len;
    Bits mask;
    std::vector<Entry> entries;
  };
  static bool before(const Entry& e, Bits bits) { return e.bits < bits; }
  std::array<std::vector<Group>, 2> groups_;  // v4, v6
};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
template <typename Node>
using StringMap = std::unordered_map<std::string, Node, StringHash, std::equal_to<>>;

// Key 0 stands for "any port" in both port maps.
struct SourcePorts {
  std::unordered_map<uint16_t, int> chains;
};
struct SourceTypes {
  std::array<PrefixTable<SourcePorts>, 3> by_type;  // indexed by SourceType
};
using DirectSources = PrefixTable<SourceTypes>;
using ApplicationProtocols = StringMap<DirectSources>;  // "" : any
using TransportProtocols = StringMap<ApplicationProtocols>;  // "" : any
using ServerNames = StringMap<TransportProtocols>;  // "" : any; ".example.com" for "*.example.com"
using Destinations = PrefixTable<ServerNames>;

const std::vector<std::string>& or_any(const std::vector<std::string>& values) {
  static const std::vector<std::string> any{""};
  return values.empty() ? any : values;
}

// Envoy's Utility::isLoopbackAddress: 127.0.0.1 and ::1, not the whole of 127/8.
bool is_canonical_loopback(const IpAddress& ip) {
  return to_bits(ip) == (ip.is_v4() ? Bits{0x7f000001} : Bits{1});
}

// Envoy's Utility::isSameIpOrLoopback.
bool is_same_ip_or_loopback(const FilterChainMatchInput& input) {
  if (input.source.is_pipe()) return true;
  if (!input.source.is_ip()) return false;
  IpAddress source = input.source.ip().unmapped();
  if (is_canonical_loopback(source)) return true;
  return input.destination.is_ip() && input.destination.ip().unmapped() == source;
}

bool same(const FilterChainMatch& a, const FilterChainMatch& b) {
  return a.destination_port == b.destination_port && a.prefix_ranges == b.prefix_ranges &&
         a.server_names == b.server_names && a.transport_protocol == b.transport_protocol &&
         a.application_protocols == b.application_protocols &&
         a.direct_source_prefix_ranges == b.direct_source_prefix_ranges && a.source_type == b.source_type &&
         a.source_prefix_ranges == b.source_prefix_ranges && a.source_ports == b.source_ports;
}

template <typename Node>
const Node* find_in(const StringMap<Node>& map, std::string_view key) {
  auto it = map.find(key);
  return it == map.end() ? nullptr : &it->second;
}

const TransportProtocols* find_server_name(const ServerNames& names, std::string_view name) {
  if (auto* exact = find_in(names, name)) return exact;
  // ".example.com", then ".com" for "www.example.com": the longest suffix first.
  for (size_t dot = name.find('.', 1); dot != std::string_view::npos && dot + 1 < name.size();
       dot = name.find('.', dot + 1)) {
    if (auto* suffix = find_in(names, name.substr(dot))) return suffix;
  }
  return name.empty() ? nullptr : find_in(names, "");
}

// Inserts every combination of one chain's criteria; -1, or the chain that has one of them already.
int insert(std::unordered_map<uint16_t, Destinations>& ports, const FilterChainMatch& m, int chain) {
  const std::vector<uint16_t> any_port{0};
  const auto destinations = to_prefixes(m.prefix_ranges);
  const auto direct_sources = to_prefixes(m.direct_source_prefix_ranges);
  const auto sources = to_prefixes(m.source_prefix_ranges);
  std::vector<std::string> names;
  for (const std::string& n : or_any(m.server_names))
    names.push_back(to_lower(n.starts_with("*.") ? n.substr(1) : n));

  for (const Prefix& destination : destinations) {
    ServerNames& by_name = ports[m.destination_port.value_or(0)].at(destination);
    for (const std::string& name : names) {
      ApplicationProtocols& by_alpn = by_name[name][m.transport_protocol];
      for (const std::string& alpn : or_any(m.application_protocols)) {
        for (const Prefix& direct : direct_sources) {
          SourceTypes& types = by_alpn[alpn].at(direct);
          for (const Prefix& source : sources) {
            SourcePorts& leaf = types.by_type[static_cast<size_t>(m.source_type)].at(source);
            for (uint16_t port : m.source_ports.empty() ? any_port : m.source_ports) {
              auto [it, added] = leaf.chains.try_emplace(port, chain);
              if (!added) return it->second;
            }
          }
        }
      }
    }
  }
  return FilterChainMatcher::kNone;
}

}  // namespace

struct FilterChainMatcher::Impl {
  std::unordered_map<uint16_t, Destinations> ports;
};

FilterChainMatcher::FilterChainMatcher() = default;
FilterChainMatcher::~FilterChainMatcher() = default;
FilterChainMatcher::FilterChainMatcher(FilterChainMatcher&&) noexcept = default;
FilterChainMatcher& FilterChainMatcher::operator=(FilterChainMatcher&&) noexcept = default;

Result<FilterChainMatcher> FilterChainMatcher::build(std::span<const FilterChainMatch> matches,
                                                     std::span<const std::string> names) {
  auto impl = std::make_unique<Impl>();
  auto quoted = [&](size_t i) { return "'" + (i < names.size() ? names[i] : std::string()) + "'"; };
  for (size_t i = 0; i < matches.size(); ++i) {
    for (const std::string& name : matches[i].server_names) {
      std::string_view rest = name;
      if (rest.starts_with("*.")) rest.remove_prefix(2);
      if (rest.find('*') != std::string_view::npos) {
        return Error{"filter chain " + quoted(i) +
                     ": partial wildcards are not supported in \"server_names\": '" + name +
                     "' (write the whole name, or \"*.\" and a domain)"};
      }
    }
    int other = insert(impl->ports, matches[i], static_cast<int>(i));
    if (other == kNone) continue;
    size_t o = static_cast<size_t>(other);
    if (o == i) {
      return Error{"filter chain " + quoted(i) + ": its filter_chain_match names the same value twice"};
    }
    if (same(matches[i], matches[o])) {
      return Error{"filter chain " + quoted(i) + " has the same matching rules defined as " + quoted(o)};
    }
    return Error{"multiple filter chains with overlapping matching rules are defined: " + quoted(o) +
                 " and " + quoted(i) +
                 " (a connection could match both equally well; make one of them more specific)"};
  }
  FilterChainMatcher matcher;
  matcher.impl_ = std::move(impl);
  return matcher;
}

int FilterChainMatcher::find(const FilterChainMatchInput& input) const {
  if (!impl_ || impl_->ports.empty()) return kNone;
  auto port = impl_->ports.find(input.destination.port());
  if (port == impl_->ports.end()) port = impl_->ports.find(0);
  if (port == impl_->ports.end()) return kNone;

  const ServerNames* names = port->second.find(Key(input.destination));
  if (!names) return kNone;
  const TransportProtocols* transports = find_server_name(*names, input.server_name);
  if (!transports) return kNone;
  const ApplicationProtocols* alpns = find_in(*transports, input.transport_protocol);
  if (!alpns) alpns = find_in(*transports, "");
  if (!alpns) return kNone;

  const DirectSources* direct_sources = nullptr;
  for (const std::string& protocol : input.application_protocols) {
    if ((direct_sources = find_in(*alpns, protocol))) break;
  }
  if (!direct_sources) direct_sources = find_in(*alpns, "");
  if (!direct_sources) return kNone;
  const SourceTypes* types = direct_sources->find(Key(input.direct_source));
  if (!types) return kNone;

  using SourceType = FilterChainMatch::SourceType;
  const auto* sources = &types->by_type[static_cast<size_t>(
      is_same_ip_or_loopback(input) ? SourceType::same_ip_or_loopback : SourceType::external)];
  if (sources->empty()) sources = &types->by_type[static_cast<size_t>(SourceType::any)];
  const SourcePorts* leaf = sources->find(Key(input.source));
  if (!leaf) return kNone;
  auto chain = leaf->chains.find(input.source.port());
  if (chain == leaf->chains.end()) chain = leaf->chains.find(0);
  return chain == leaf->chains.end() ? kNone : chain->second;
}

}  // namespace sluice::model
