#include "model/filter_chain_match.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/random.h"

using namespace sluice;
using namespace sluice::model;

namespace {

Address addr(std::string_view text) {
  return std::move(Address::parse(text)).value();
}
Cidr cidr(std::string_view text) {
  return std::move(Cidr::parse(text)).value();
}
using SourceType = FilterChainMatch::SourceType;

struct Input {
  std::string destination = "10.0.0.1:80", source = "192.168.1.1:4000", direct_source = {};
  std::string server_name = {}, transport = "raw_buffer";
  std::vector<std::string> alpn = {};
  FilterChainMatchInput get() const {
    return {addr(destination), addr(source), addr(direct_source.empty() ? source : direct_source),
            server_name,       transport,    alpn};
  }
};

std::vector<std::string> names_for(size_t n) {
  std::vector<std::string> names;
  for (size_t i = 0; i < n; ++i) names.push_back("chain" + std::to_string(i));
  return names;
}

int find(const std::vector<FilterChainMatch>& chains, const Input& input) {
  auto matcher = FilterChainMatcher::build(chains, names_for(chains.size()));
  REQUIRE(matcher.ok());
  return matcher->find(input.get());
}

std::string build_error(const std::vector<FilterChainMatch>& chains) {
  auto matcher = FilterChainMatcher::build(chains, names_for(chains.size()));
  return matcher.ok() ? "" : matcher.error().message;
}

}  // namespace

TEST_CASE("nothing configured matches nothing; an empty match matches everything") {
  CHECK(FilterChainMatcher().find(Input{}.get()) == FilterChainMatcher::kNone);
  CHECK(find({}, {}) == FilterChainMatcher::kNone);
  CHECK(find({{}}, {}) == 0);
  CHECK(find({{}}, {.destination = "[2001:db8::1]:443", .source = "[::1]:1"}) == 0);
  auto pipe = Address::pipe("/run/x.sock");
  auto matcher = FilterChainMatcher::build(std::vector<FilterChainMatch>(1), names_for(1));
  CHECK(matcher->find({*pipe, *pipe, *pipe, "", "", {}}) == 0);
}

TEST_CASE("a port that is configured is not left again when nothing below it matches") {
  std::vector<FilterChainMatch> chains(2);
  chains[0].destination_port = 443;
  chains[0].prefix_ranges = {cidr("10.1.0.0/16")};
  CHECK(find(chains, {.destination = "10.1.2.3:443"}) == 0);
  CHECK(find(chains, {.destination = "10.2.2.3:443"}) == FilterChainMatcher::kNone);
  CHECK(find(chains, {.destination = "10.2.2.3:444"}) == 1);
}

TEST_CASE("the longest destination prefix wins, v4-mapped addresses are v4") {
  std::vector<FilterChainMatch> chains(4);
  chains[0].prefix_ranges = {cidr("10.0.0.0/8"), cidr("2001:db8::/32")};
  chains[1].prefix_ranges = {cidr("10.1.0.0/16")};
  chains[2].prefix_ranges = {cidr("10.1.2.3/32")};
  CHECK(find(chains, {.destination = "10.9.0.1:1"}) == 0);
  CHECK(find(chains, {.destination = "10.1.0.1:1"}) == 1);
  CHECK(find(chains, {.destination = "10.1.2.3:1"}) == 2);
  CHECK(find(chains, {.destination = "[::ffff:10.1.2.3]:1"}) == 2);
  CHECK(find(chains, {.destination = "[2001:db8::7]:1"}) == 0);
  CHECK(find(chains, {.destination = "11.1.2.3:1"}) == 3);
  chains[3].prefix_ranges = {cidr("::ffff:11.0.0.0/104")};
  CHECK(find(chains, {.destination = "11.1.2.3:1"}) == 3);
}

// "a.b.example.com", "*.b.example.com", "*.example.com", "*.com" and none: the API reference's example.
TEST_CASE("server names: exact, then the longest wildcard, then none") {
  std::vector<FilterChainMatch> chains(5);
  chains[0].server_names = {"a.b.example.com"};
  chains[1].server_names = {"*.b.example.com"};
  chains[2].server_names = {"*.example.com"};
  chains[3].server_names = {"*.com"};
  CHECK(find(chains, {.server_name = "a.b.example.com"}) == 0);
  CHECK(find(chains, {.server_name = "x.b.example.com"}) == 1);
  CHECK(find(chains, {.server_name = "x.y.b.example.com"}) == 1);
  CHECK(find(chains, {.server_name = "b.example.com"}) == 2);
  CHECK(find(chains, {.server_name = "example.com"}) == 3);
  CHECK(find(chains, {.server_name = "com"}) == 4);
  CHECK(find(chains, {.server_name = ""}) == 4);
  CHECK(find(chains, {.server_name = "trailing.dot."}) == 4);
}

TEST_CASE("an exact server name is not left for a wildcard when its transport does not match") {
  std::vector<FilterChainMatch> chains(2);
  chains[0].server_names = {"a.example.com"};
  chains[0].transport_protocol = "tls";
  chains[1].server_names = {"*.example.com"};
  CHECK(find(chains, {.server_name = "a.example.com", .transport = "raw_buffer"}) ==
        FilterChainMatcher::kNone);
  CHECK(find(chains, {.server_name = "a.example.com", .transport = "tls"}) == 0);
  CHECK(find(chains, {.server_name = "b.example.com", .transport = "raw_buffer"}) == 1);
}

TEST_CASE("application protocols: the connection's first that any chain names") {
  std::vector<FilterChainMatch> chains(3);
  chains[0].application_protocols = {"h2"};
  chains[1].application_protocols = {"http/1.1", "http/1.0"};
  CHECK(find(chains, {.alpn = {"http/1.1", "h2"}}) == 1);
  CHECK(find(chains, {.alpn = {"h3", "h2", "http/1.1"}}) == 0);
  CHECK(find(chains, {.alpn = {"h3"}}) == 2);
  CHECK(find(chains, {}) == 2);
}

TEST_CASE("source type: local is loopback, the same address, or a Unix socket") {
  std::vector<FilterChainMatch> chains(3);
  chains[0].source_type = SourceType::same_ip_or_loopback;
  chains[1].source_type = SourceType::external;
  CHECK(find(chains, {.source = "127.0.0.1:9"}) == 0);
  CHECK(find(chains, {.source = "[::1]:9"}) == 0);
  CHECK(find(chains, {.source = "[::ffff:127.0.0.1]:9"}) == 0);
  CHECK(find(chains, {.source = "127.0.0.2:9"}) == 1);  // Envoy's loopback is one address
  CHECK(find(chains, {.destination = "10.0.0.1:80", .source = "10.0.0.1:9"}) == 0);
  CHECK(find(chains, {.destination = "10.0.0.1:80", .source = "10.0.0.2:9"}) == 1);
  chains[1] = FilterChainMatch();
  chains[1].source_ports = {1};
  CHECK(find(chains, {.source = "10.0.0.2:9"}) == 2);
  chains[2].source_prefix_ranges = {cidr("127.0.0.0/8")};
  chains[0].source_ports = {10};
  // The local chain fails on its port; the others are not tried.
  CHECK(find(chains, {.source = "127.0.0.1:9"}) == FilterChainMatcher::kNone);
}

TEST_CASE("direct source, source prefix and source port") {
  std::vector<FilterChainMatch> chains(4);
  chains[0].direct_source_prefix_ranges = {cidr("172.16.0.0/12")};
  chains[1].source_prefix_ranges = {cidr("192.168.0.0/16")};
  chains[2].source_prefix_ranges = {cidr("192.168.0.0/16")};
  chains[2].source_ports = {7, 8};
  CHECK(find(chains, {.direct_source = "172.17.0.1:1"}) == 0);
  CHECK(find(chains, {.source = "192.168.3.4:9"}) == 1);
  CHECK(find(chains, {.source = "192.168.3.4:8"}) == 2);
  CHECK(find(chains, {.source = "10.1.3.4:8"}) == 3);
}

TEST_CASE("what cannot be told apart is refused, and both chains are named") {
  std::vector<FilterChainMatch> chains(3);
  chains[0].destination_port = 1;
  chains[1].server_names = {"a.com"};
  chains[2] = chains[1];
  CHECK(build_error(chains) == "filter chain 'chain2' has the same matching rules defined as 'chain1'");
  chains[2].server_names = {"b.com", "a.com"};
  CHECK(build_error(chains).find("overlapping matching rules are defined: 'chain1' and 'chain2'") !=
        std::string::npos);
  chains[2].server_names = {"b.com", "b.com"};
  CHECK(build_error(chains).find("'chain2': its filter_chain_match names the same value twice") !=
        std::string::npos);
  chains[2].server_names = {"w*.com"};
  CHECK(build_error(chains).find("partial wildcards are not supported") != std::string::npos);
  chains[2].server_names = {"*"};
  CHECK(build_error(chains).find("partial wildcards are not supported") != std::string::npos);
  chains[2].server_names = {"*.com"};
  CHECK(build_error(chains) == "");
  // An empty list and both /0 prefixes are the same thing.
  chains[2] = FilterChainMatch();
  chains[1] = FilterChainMatch();
  chains[1].prefix_ranges = {cidr("0.0.0.0/0")};
  CHECK(build_error(chains).find("overlapping") != std::string::npos);
}

namespace {

// The rules once more, as the documentation tells them: each chain is spread out into single-valued rows; criterion by
// criterion only the rows with the best value stay.
struct Row {
  int chain;
  int port, source_port;
  Cidr destination, direct, source;
  bool any_destination, any_direct, any_source;
  std::string name, transport, alpn;
  SourceType type;
};

template <typename T>
std::vector<T> or_one(const std::vector<T>& v) {
  return v.empty() ? std::vector<T>(1) : v;
}

std::vector<Row> spread(const std::vector<FilterChainMatch>& chains) {
  std::vector<Row> rows;
  for (int i = 0; i < static_cast<int>(chains.size()); ++i) {
    const FilterChainMatch& m = chains[i];
    for (auto& d : or_one(m.prefix_ranges))
      for (auto& n : or_one(m.server_names))
        for (auto& a : or_one(m.application_protocols))
          for (auto& ds : or_one(m.direct_source_prefix_ranges))
            for (auto& s : or_one(m.source_prefix_ranges))
              for (auto& p : or_one(m.source_ports))
                rows.push_back({i, m.destination_port.value_or(0), p, d, ds, s, m.prefix_ranges.empty(),
                                m.direct_source_prefix_ranges.empty(), m.source_prefix_ranges.empty(), n,
                                m.transport_protocol, a, m.source_type});
  }
  return rows;
}

// Keeps the rows of the highest score; rows below 0 do not match at all.
template <typename F>
void keep_best(std::vector<Row>& rows, F score) {
  int best = -1;
  for (const Row& r : rows) best = std::max(best, score(r));
  std::erase_if(rows, [&](const Row& r) { return best < 0 || score(r) != best; });
}

int model_find(const std::vector<FilterChainMatch>& chains, const FilterChainMatchInput& in) {
  auto rows = spread(chains);
  auto prefix = [](bool any, const Cidr& c, const Address& a) {
    return any ? 0 : c.contains(a.ip()) ? static_cast<int>(c.prefix_len()) : -1;
  };
  keep_best(rows, [&](const Row& r) { return r.port == 0 ? 0 : r.port == in.destination.port() ? 1 : -1; });
  keep_best(rows, [&](const Row& r) { return prefix(r.any_destination, r.destination, in.destination); });
  keep_best(rows, [&](const Row& r) {
    if (r.name.empty()) return 0;
    if (r.name == in.server_name) return 10000;
    bool suffix = r.name.starts_with("*.") && in.server_name.size() > r.name.size() - 1 &&
                  in.server_name.ends_with(r.name.substr(1));
    return suffix ? static_cast<int>(r.name.size()) : -1;
  });
  keep_best(rows, [&](const Row& r) {
    return r.transport.empty() ? 0 : r.transport == in.transport_protocol ? 1 : -1;
  });
  keep_best(rows, [&](const Row& r) {
    if (r.alpn.empty()) return 0;
    for (size_t i = 0; i < in.application_protocols.size(); ++i)
      if (in.application_protocols[i] == r.alpn) return 100 - static_cast<int>(i);
    return -1;
  });
  keep_best(rows, [&](const Row& r) { return prefix(r.any_direct, r.direct, in.direct_source); });
  bool local = in.source.ip().to_string() == "127.0.0.1" || in.source.ip() == in.destination.ip();
  keep_best(rows, [&](const Row& r) {
    if (r.type == SourceType::any) return 0;
    return (r.type == SourceType::same_ip_or_loopback) == local ? 1 : -1;
  });
  keep_best(rows, [&](const Row& r) { return prefix(r.any_source, r.source, in.source); });
  keep_best(rows, [&](const Row& r) {
    return r.source_port == 0 ? 0 : r.source_port == in.source.port() ? 1 : -1;
  });
  if (rows.empty()) return FilterChainMatcher::kNone;
  CHECK(rows.size() == 1);
  return rows[0].chain;
}

template <typename T>
std::vector<T> some(Random& r, const std::vector<T>& from, uint32_t percent) {
  std::vector<T> out;
  if (!r.chance(percent, 100)) return out;
  for (const T& t : from)
    if (r.chance(1, 3)) out.push_back(t);
  return out;
}

}  // namespace

TEST_CASE("agrees with a plain reading of the rules on random chains") {
  const uint64_t seed = 20240607;
  CAPTURE(seed);
  Random r(seed);
  const std::vector<Cidr> prefixes{cidr("10.0.0.0/8"), cidr("10.1.0.0/16"), cidr("10.1.1.0/24"),
                                   cidr("10.1.1.1/32"), cidr("127.0.0.0/8")};
  const std::vector<std::string> names{"a.b.com", "*.b.com", "*.com", "b.com"}, alpns{"h2", "http/1.1", "x"};
  const std::vector<std::string> hosts{"10.1.1.1", "10.1.1.2",  "10.1.2.2",
                                       "10.9.9.9", "127.0.0.1", "8.8.8.8"};
  const std::vector<std::string> transports{"", "tls", "raw_buffer"};
  const std::vector<std::string> offered_names{"", "a.b.com", "c.b.com", "b.com", "z.com", "org"};
  int built = 0, matched = 0;
  for (int round = 0; round < 3000; ++round) {
    CAPTURE(round);
    std::vector<FilterChainMatch> chains(1 + r.below(5));
    for (FilterChainMatch& m : chains) {
      if (r.chance(1, 2)) m.destination_port = static_cast<uint16_t>(80 + r.below(2));
      m.prefix_ranges = some(r, prefixes, 50);
      m.server_names = some(r, names, 40);
      m.transport_protocol = transports[r.below(3)];
      m.application_protocols = some(r, alpns, 30);
      m.direct_source_prefix_ranges = some(r, prefixes, 20);
      m.source_type = static_cast<SourceType>(r.below(3));
      m.source_prefix_ranges = some(r, prefixes, 30);
      m.source_ports = some(r, std::vector<uint16_t>{7, 8}, 30);
    }
    auto matcher = FilterChainMatcher::build(chains, names_for(chains.size()));
    if (!matcher.ok()) continue;
    ++built;
    for (int i = 0; i < 20; ++i) {
      auto at = [&](uint64_t port) { return hosts[r.below(hosts.size())] + ":" + std::to_string(port); };
      Input in{
          at(80 + r.below(3)),        at(7 + r.below(3)), at(5), offered_names[r.below(offered_names.size())],
          transports[1 + r.below(2)], some(r, alpns, 60)};
      if (r.chance(1, 2)) std::reverse(in.alpn.begin(), in.alpn.end());
      CAPTURE(in.destination);
      CAPTURE(in.source);
      CAPTURE(in.direct_source);
      int expected = model_find(chains, in.get());
      CHECK(matcher->find(in.get()) == expected);
      matched += expected != FilterChainMatcher::kNone;
    }
  }
  CHECK(built > 1000);
  CHECK(matched > 1000);
}
