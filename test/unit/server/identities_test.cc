#include "server/identities.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>

#include "core/log.h"
#include "tls/ca.h"
#include "tls/check.h"

namespace sluice::server {
namespace {

using Kind = redirect::SecretSource::Kind;

struct NoSds final : Identities::SdsClusters {
  Result<model::ConfigSource> open(const std::string&) override { return Error{"no SDS here"}; }
  void close(const std::string&) override {}
};

struct Rig {
  Rig() : loop(std::move(*io::make_loop({}))), store(1), around{.loop = *loop, .root = store.root(0)} {
    char name[] = "/tmp/sluice-identities-XXXXXX";
    root = ::mkdtemp(name);
    log::set_level(log::Component::workload, log::Level::off);
    identities = std::make_unique<Identities>(*loop, store.root(0), around, secrets, sds);
  }
  ~Rig() {
    identities.reset();
    while (loop->ops_in_flight() > 0) loop->run_once(std::chrono::milliseconds(10));
    log::set_level(log::Component::workload, log::Level::info);
    [[maybe_unused]] int r = ::system(("rm -rf " + root).c_str());
  }
  template <typename F>
  void until(F done) {
    for (int i = 0; i < 1000 && !done(); ++i) loop->run_once(std::chrono::milliseconds(10));
    CHECK(done());
  }
  WallTime now() const { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }
  static const tls::DevelopmentCa& ca() {
    static const auto made = *tls::DevelopmentCa::make({}, std::chrono::system_clock::now());
    return made;
  }
  static std::string id(const std::string& who) { return "spiffe://cluster.local/ns/n/sa/" + who; }
  std::string folder(const std::string& who) const { return root + "/" + who; }
  void put_file(const std::string& path, const std::string& content) const {
    std::ofstream(path + ".new") << content;
    REQUIRE(::rename((path + ".new").c_str(), path.c_str()) == 0);
  }
  // A certificate for `identity` into the folder of `who`; its chain.
  std::string issue(const std::string& who, const std::string& identity, Duration ttl = std::chrono::hours(1),
                    Duration ago = {}) const {
    auto made = ca().issue({.identity = identity, .ttl = ttl, .now = now() - ago});
    REQUIRE(made.ok());
    [[maybe_unused]] int r = ::system(("mkdir -p " + folder(who)).c_str());
    put_file(folder(who) + "/key.pem", made->private_key);
    put_file(folder(who) + "/root-cert.pem", ca().certificate());
    put_file(folder(who) + "/cert-chain.pem", made->chain);
    return made->chain;
  }
  redirect::WorkloadSpec spec(const std::string& who, Kind kind = Kind::files) const {
    redirect::WorkloadSpec s;
    s.name = who, s.netns_path = "/x", s.identity = id(who);
    s.secrets = {kind, folder(who)};
    return s;
  }
  std::shared_ptr<const tls::Certificate> certificate(uint64_t workload) const {
    auto own = secrets->find<tls::Certificate>("default", workload);
    REQUIRE(own.has_value());
    return *own;
  }
  uint64_t stat(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return ~0ull;
  }

  std::unique_ptr<io::Loop> loop;
  stats::Store store;
  xds::SecretSurroundings around;
  NoSds sds;
  std::string root;
  std::shared_ptr<xds::WorkloadSecrets> secrets = std::make_shared<xds::WorkloadSecrets>();
  std::unique_ptr<Identities> identities;
};

TEST_CASE("identities: a workload's files are its certificate and its CA, and are followed") {
  Rig rig;
  const std::string first = rig.issue("cart", rig.id("cart"));
  CHECK(rig.identities->check(rig.spec("cart")).ok());
  rig.identities->put(7, rig.spec("cart"));
  REQUIRE(rig.certificate(7));
  CHECK(rig.certificate(7)->chain == first);
  CHECK((*rig.secrets->find<tls::Validation>("ROOTCA", 7))->trusted_ca == rig.ca().certificate());
  auto view = rig.identities->view(7);
  REQUIRE(view.has_value());
  CHECK(view->identity == rig.id("cart"));
  CHECK(view->reason.empty());
  CHECK(view->expires.has_value());
  CHECK(rig.stat("workloads.identities.usable") == 1);

  const std::string second = rig.issue("cart", rig.id("cart"));
  rig.until([&] { return rig.certificate(7)->chain == second; });
  CHECK(rig.stat("workloads.identities.rotated") >= 1);

  // Somebody else's certificate in its folder: not taken, and said; the good one stays while it is valid.
  rig.issue("cart", rig.id("thief"));
  rig.until(
      [&] { return rig.identities->view(7)->reason.find("its certificate is for " + rig.id("thief")) == 0; });
  CHECK(rig.certificate(7)->chain == second);
  CHECK(rig.stat("workloads.identities.refused") >= 1);
  CHECK(!rig.identities->check(rig.spec("cart")).ok());

  rig.identities->forget(7);
  CHECK(rig.certificate(7) == nullptr);
  CHECK(!rig.identities->view(7).has_value());
  CHECK(rig.stat("workloads.identities.usable") == 0);
}

TEST_CASE("identities: one that expires is nobody until there is a new one") {
  Rig rig;
  rig.issue("cart", rig.id("cart"), std::chrono::seconds(2), std::chrono::milliseconds(500));
  rig.identities->put(7, rig.spec("cart"));
  REQUIRE(rig.certificate(7));
  rig.until([&] { return rig.certificate(7) == nullptr; });
  CHECK(rig.identities->view(7)->reason.find("has expired") != std::string::npos);
  CHECK(rig.stat("workloads.identities.expired") == 1);
  CHECK(rig.stat("workloads.identities.unusable") == 1);
  CHECK(*rig.secrets->find<tls::Validation>("ROOTCA", 7) == nullptr);
  const std::string fresh = rig.issue("cart", rig.id("cart"));
  rig.until([&] { return rig.certificate(7) != nullptr; });
  CHECK(rig.certificate(7)->chain == fresh);
  CHECK(rig.identities->view(7)->reason.empty());
}

TEST_CASE("identities: no folder, a folder that comes later, another identity") {
  Rig rig;
  CHECK(rig.identities->check(rig.spec("late")).error().message.find("cert-chain.pem") != std::string::npos);
  rig.identities->put(3, rig.spec("late"));
  CHECK(rig.certificate(3) == nullptr);
  CHECK(!rig.identities->view(3)->reason.empty());
  rig.issue("late", rig.id("late"));
  rig.identities->retry();
  CHECK(rig.certificate(3) != nullptr);

  // Enrolled as somebody else: the old certificate is gone at once.
  auto other = rig.spec("late");
  other.identity = rig.id("other");
  rig.identities->put(3, other);
  CHECK(rig.certificate(3) == nullptr);
  CHECK(rig.identities->view(3)->reason.find("and it is enrolled as " + rig.id("other")) !=
        std::string::npos);
  rig.identities->put(3, redirect::WorkloadSpec{});
  CHECK(!rig.secrets->find<tls::Certificate>("default", 3).has_value());
  // A socket that cannot be had is a reason too.
  rig.identities->put(4, rig.spec("sds", Kind::sds));
  CHECK(rig.certificate(4) == nullptr);
  rig.identities->retain([](uint64_t w) { return w != 4; });
  CHECK(!rig.identities->view(4).has_value());
}

TEST_CASE("identities: the development CA issues, a thousand of them in memory") {
  Rig rig;
  const std::string dir = rig.folder("ca");
  [[maybe_unused]] int r = ::system(("mkdir -p " + dir).c_str());
  std::ofstream(dir + "/ca-cert.pem") << rig.ca().certificate();
  std::ofstream(dir + "/ca-key.pem") << rig.ca().private_key();
  const MonotonicTime begun = rig.loop->now();
  constexpr uint64_t kWorkloads = 1000;
  for (uint64_t w = 1; w <= kWorkloads; ++w) {
    auto spec = rig.spec("w" + std::to_string(w), Kind::development_ca);
    spec.secrets.path = dir;
    rig.identities->put(w, spec);
  }
  rig.loop->run_once(std::chrono::milliseconds(1));
  const double seconds = std::chrono::duration<double>(rig.loop->now() - begun).count();
  MESSAGE("a thousand identities by the development CA: " << seconds << " s");
  for (uint64_t w = 1; w <= kWorkloads; ++w) {
    REQUIRE(rig.certificate(w));
    auto said = tls::summarize(rig.certificate(w)->chain);
    REQUIRE(said.ok());
    CHECK(said->front().uri_sans == std::vector<std::string>{rig.id("w" + std::to_string(w))});
  }
  CHECK(rig.stat("workloads.identities.usable") == kWorkloads);

  // The same CA written again issues nothing; another one does, and leaves the thread time for others: each of them has
  // what it had until its turn comes.
  auto rotated = [&] { return rig.stat("workloads.identities.rotated"); };
  rig.put_file(dir + "/ca-cert.pem", rig.ca().certificate());
  for (uint64_t turn = 0; turn < kWorkloads; ++turn) rig.loop->run_once(Duration(0));
  CHECK(rotated() == 0);
  const auto other = *tls::DevelopmentCa::make({}, rig.now());
  rig.put_file(dir + "/ca-key.pem", other.private_key());  // does not fit: they keep what they have
  for (uint64_t turn = 0; turn < kWorkloads; ++turn) rig.loop->run_once(Duration(0));
  CHECK(rotated() == 0);
  CHECK(rig.identities->view(1)->reason.find("do not fit together") != std::string::npos);
  CHECK(rig.stat("workloads.identities.usable") == kWorkloads);
  rig.put_file(dir + "/ca-cert.pem", other.certificate());
  uint64_t most = 0;
  rig.until([&] {
    for (int i = 0; i < 100; ++i) {
      const uint64_t before = rotated();
      rig.loop->run_once(Duration(0));
      most = std::max(most, rotated() - before);
    }
    return rotated() == kWorkloads;
  });
  CHECK(most <= 2);
  CHECK(rig.identities->view(1)->reason.empty());
  CHECK((*rig.secrets->find<tls::Validation>("ROOTCA", 1))->trusted_ca == other.certificate());
  CHECK(rig.stat("workloads.identities.usable") == kWorkloads);
}

}  // namespace
}  // namespace sluice::server
