#include "model/domain_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "test/unit/model/route_rig.h"

namespace sluice::model {
namespace {

using test::host;
using HostPtr = std::shared_ptr<VirtualHost>;

// What Envoy's documentation says of domains, word by word.
const VirtualHost* plainly(const std::map<std::string, const VirtualHost*>& domains,
                           const std::string& name) {
  const bool wild = name.starts_with('*') || name.ends_with('*');
  if (const auto exact = domains.find(name); exact != domains.end() && !wild) return exact->second;
  const VirtualHost *suffix = nullptr, *prefix = nullptr;
  size_t longest_suffix = 0, longest_prefix = 0;
  for (const auto& [domain, owner] : domains) {
    if (domain == "*") continue;
    const size_t length = domain.size() - 1;
    if (length >= name.size()) continue;
    if (domain.starts_with('*')) {
      if (length > longest_suffix && name.ends_with(domain.substr(1)))
        suffix = owner, longest_suffix = length;
    } else if (domain.ends_with('*') && length > longest_prefix &&
               name.starts_with(domain.substr(0, length))) {
      prefix = owner, longest_prefix = length;
    }
  }
  return suffix != nullptr ? suffix : prefix;
}

struct Version {
  std::map<std::string, const VirtualHost*> domains;
  DomainTable table;
};

std::string random_name(Random& random) {
  std::string out;
  for (uint64_t n = 1 + random.below(3); n > 0; --n)
    out += (out.empty() ? "" : ".") + std::to_string(random.below(12));
  return out;
}

std::string random_domain(Random& random) {
  const std::string name = random_name(random);
  switch (random.below(6)) {
    case 0:
      return "*." + name;
    case 1:
      return name + ".*";
    case 2:
      return random.below(9) == 0 ? "*" : name;
    default:
      return name;
  }
}

void check(const Version& version, Random& random, uint64_t seed) {
  const auto any = version.domains.find("*");
  CHECK(version.table.any() == (any == version.domains.end() ? nullptr : any->second));
  CHECK(version.table.empty() == (version.domains.size() == (any == version.domains.end() ? 0 : 1)));
  for (int i = 0; i < 40; ++i) {
    const std::string name = i % 2 == 0 ? random_name(random) : random_domain(random);
    size_t lookups = 0;
    REQUIRE_MESSAGE(version.table.find(name, lookups) == plainly(version.domains, name),
                    "name " << name << ", seed " << seed);
  }
}

TEST_CASE("random hosts come and go: each version of a table finds what its domains say, the old ones too") {
  const uint64_t seed = random_seed();
  Random random(seed);
  std::vector<HostPtr> all;  // that ever were
  std::vector<Version> versions;
  std::vector<const VirtualHost*> in;
  versions.push_back({{}, DomainTable::Builder(0).build()});
  for (int step = 0; step < 400; ++step) {
    Version next{versions.back().domains, {}};
    DomainTable::Builder builder(versions.back().table);
    for (uint64_t n = random.below(4); n > 0 && !in.empty(); --n) {
      const size_t at = random.below(in.size());
      builder.remove(*in[at]);
      for (const std::string& domain : in[at]->domains) next.domains.erase(domain);
      in.erase(in.begin() + static_cast<ptrdiff_t>(at));
    }
    for (uint64_t n = random.below(step < 200 ? 8 : 3); n > 0; --n) {
      std::vector<std::string> domains;
      for (uint64_t k = 1 + random.below(4); k > 0; --k) {
        const std::string domain = random_domain(random);
        if (!next.domains.contains(domain) && std::ranges::find(domains, domain) == domains.end())
          domains.push_back(domain);
      }
      const HostPtr& made = all.emplace_back(host(std::to_string(all.size()), domains));
      REQUIRE(builder.add(*made) == nullptr);
      for (const std::string& domain : domains) next.domains[domain] = made.get();
      in.push_back(made.get());
    }
    next.table = std::move(builder).build();
    versions.push_back(std::move(next));
    check(versions.back(), random, seed);
    check(versions[random.below(versions.size())], random, seed);
  }
}

TEST_CASE("a domain that another host has already, or the same one") {
  const auto a = host("a", {"x", "*", "*.y", "z.*"});
  for (const char* domain : {"x", "*", "*.y", "z.*"}) {
    const auto b = host("b", {"other", domain});
    DomainTable::Builder builder(0);
    CHECK(builder.add(*a) == nullptr);
    const std::string* const twice = builder.add(*b);
    REQUIRE(twice != nullptr);
    CHECK(*twice == domain);
  }
  CHECK(DomainTable::Builder(2).add(*host("c", {"x", "x"})) != nullptr);
  DomainTable::Builder builder(1);
  CHECK(builder.add(*a) == nullptr);
  CHECK(builder.add(*host("d", {"y", "z", "*.x", "x.*", "y.*", "*.z"})) == nullptr);
}

TEST_CASE("one host of 5,000 that changes costs the pages of its domains") {
  std::vector<HostPtr> hosts;
  DomainTable::Builder builder(10000);
  for (int i = 0; i < 5000; ++i) {
    const std::string n = std::to_string(i);
    REQUIRE(builder.add(*hosts.emplace_back(host(n, {"svc" + n + ".example.com", "svc" + n}))) == nullptr);
  }
  const DomainTable before = std::move(builder).build();
  const auto changed = host("changed", hosts[7]->domains);
  DomainTable::Builder again(before);
  again.remove(*hosts[7]);
  CHECK(again.add(*changed) == nullptr);
  const DomainTable after = std::move(again).build();
  size_t lookups = 0;
  CHECK(before.find("svc7", lookups) == hosts[7].get());
  CHECK(after.find("svc7", lookups) == changed.get());
  CHECK(before.pages() >= 256 / 2);
  CHECK(after.pages_shared_with(before) >= before.pages() - 8);
  CHECK(after.pages_shared_with(before) < before.pages());
}

}  // namespace
}  // namespace sluice::model
