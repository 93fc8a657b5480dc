#include "xds/secrets.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <map>
#include <thread>

#include "core/wyhash.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "extensions/access_loggers/file/log_manager.h"
#include "sluice/ext/registry.h"
#include "test/support/test_ca.h"
#include "test/unit/xds/fake_factory.h"

namespace sluice::xds {
namespace {

namespace v3 = envoy::extensions::transport_sockets::tls::v3;

struct Directory {
  Directory() {
    char name[] = "/tmp/sluice-sds-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { [[maybe_unused]] int r = ::system(("rm -rf " + path).c_str()); }
  std::string file(const std::string& name) const { return path + "/" + name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(file(name)) << text; }
  // As Kubernetes changes a mounted secret: a new folder, and a symlink renamed over the old one.
  void publish(const std::string& version, const test::PemPair& pair) const {
    const std::string folder = file("..data-" + version);
    REQUIRE(::system(("mkdir " + folder).c_str()) == 0);
    std::ofstream(folder + "/cert.pem") << pair.chain;
    std::ofstream(folder + "/key.pem") << pair.key;
    REQUIRE(::system(("ln -s " + folder + " " + file("..new")).c_str()) == 0);
    REQUIRE(::rename(file("..new").c_str(), file("..data").c_str()) == 0);
  }
  std::string path;
};

struct Rig {
  explicit Rig(bool workloads = false)
      : loop(std::move(*io::make_loop({}))), store(1), logs(store.root(0), {}) {
    resources = std::make_unique<config::Resources>(registry, logs);
    secrets = std::make_unique<Secrets>(*loop, store.root(0), Secrets::Options{.workloads = workloads});
    secrets->when_ready([this] { ++ready_calls; });
    source.kind = model::ConfigSource::Kind::ads;
  }
  ~Rig() {
    if (secrets) secrets->stop();
    secrets.reset();
    turn();
  }
  void start() { REQUIRE(secrets->start(factory, *resources)); }
  void turn() {
    do loop->run_once(std::chrono::milliseconds(1));
    while (!secrets && loop->ops_in_flight() > 0);
  }
  template <typename F>
  void until(F done) {
    for (int i = 0; i < 1000 && !done(); ++i) loop->run_once(std::chrono::milliseconds(10));
    CHECK(done());
  }
  static Resource resource(const v3::Secret& secret, const std::string& version, std::string& bytes) {
    bytes = secret.SerializeAsString();
    return {.type = ResourceType::secret,
            .name = secret.name(),
            .version = version,
            .bytes = bytes,
            .hash = wyhash(bytes),
            .message = std::make_shared<v3::Secret>(secret)};
  }
  Status send(const v3::Secret& secret, const std::string& version, size_t to = 0) {
    std::string bytes;
    return factory.all.at(to)->subscriber.on_update(
        {.resources = {resource(secret, version, bytes)}, .version = version});
  }
  uint64_t stat(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return ~0ull;
  }

  std::unique_ptr<io::Loop> loop;
  stats::Store store;
  access_loggers::FileLogManager logs;
  ext::Registry registry;
  std::unique_ptr<config::Resources> resources;
  FakeFactory factory{ResourceType::secret};
  std::unique_ptr<Secrets> secrets;
  model::ConfigSource source;
  int ready_calls = 0;
};

test::TestCa& ca() {
  static test::TestCa made("Test CA", std::chrono::system_clock::now());
  return made;
}

// Made once for each name.
const test::PemPair& pair(const std::string& name) {
  static std::map<std::string, test::PemPair> all;
  auto at = all.find(name);
  if (at == all.end()) at = all.emplace(name, ca().issue({.common_name = name})).first;
  return at->second;
}

v3::Secret certificate(const std::string& name, const std::string& which = "one") {
  v3::Secret s;
  s.set_name(name);
  s.mutable_tls_certificate()->mutable_certificate_chain()->set_inline_string(pair(which).chain);
  s.mutable_tls_certificate()->mutable_private_key()->set_inline_string(pair(which).key);
  return s;
}

v3::Secret trust(const std::string& name) {
  v3::Secret s;
  s.set_name(name);
  s.mutable_validation_context()->mutable_trusted_ca()->set_inline_string(ca().pem());
  return s;
}

TEST_CASE("sds: a secret comes, changes, and stays when a bad one follows") {
  Rig rig;
  auto asked = rig.secrets->certificate("web", &rig.source);
  REQUIRE(asked.ok());
  CHECK(rig.factory.subscribed == 0);  // not before the start
  rig.start();
  REQUIRE(rig.factory.all.size() == 1);
  CHECK(rig.factory.all[0]->names == std::unordered_set<std::string>{"web"});
  const auto& secret = *asked;
  CHECK(!secret->ready());
  CHECK(secret->current(0) == nullptr);
  CHECK(secret->what() == "secret 'web' (sds)");

  REQUIRE(rig.send(certificate("web", "one"), "1"));
  CHECK(secret->ready());
  CHECK(rig.ready_calls == 1);
  REQUIRE(secret->current(0));
  CHECK(secret->current(0)->chain == pair("one").chain);
  CHECK(secret->current(7) == secret->current(0));
  const uint64_t first = secret->generation();

  REQUIRE(rig.send(certificate("web", "one"), "2"));  // the same again: nobody has to look
  CHECK(secret->generation() == first);
  CHECK(rig.secrets->view()[0].version == "2");
  REQUIRE(rig.send(certificate("web", "two"), "3"));
  CHECK(secret->generation() != first);
  CHECK(secret->current(0)->chain == pair("two").chain);

  v3::Secret mismatch = certificate("web", "two");
  mismatch.mutable_tls_certificate()->mutable_private_key()->set_inline_string(pair("one").key);
  Status refused = rig.send(mismatch, "4");
  REQUIRE(!refused);
  CHECK(refused.error().message.starts_with(
      "secret 'web': tls_certificate: Failed to load private key from <inline>"));
  CHECK(rig.send(trust("web"), "5").error().message ==
        "secret 'web': has no tls_certificate, which is what it is used as");
  CHECK(rig.send(certificate("other"), "6").error().message ==
        "Unexpected SDS secret (expecting web): other");
  v3::Secret generic;
  generic.set_name("web");
  generic.mutable_generic_secret()->mutable_secret()->set_inline_string("x");
  CHECK(!rig.send(generic, "7").ok());
  CHECK(secret->current(0)->chain == pair("two").chain);
  CHECK(rig.secrets->view()[0].version == "3");
  CHECK(!rig.secrets->view()[0].refused.empty());
  CHECK(rig.secrets->view()[0].message->SerializeAsString().find("PRIVATE KEY") == std::string::npos);
  // One that is removed stays.
  REQUIRE(rig.factory.all[0]->subscriber.on_update({.delta = true, .removed = {"web"}}));
  CHECK(secret->current(0)->chain == pair("two").chain);
}

TEST_CASE("sds: who waits goes on after a time-out, and has nothing") {
  Rig rig;
  rig.start();
  auto secret = *rig.secrets->validation("ROOTCA", &rig.source);
  CHECK(!secret->ready());
  rig.factory.all[0]->subscriber.on_failure(FetchFailure::timed_out);
  CHECK(secret->ready());
  CHECK(rig.ready_calls == 1);
  CHECK(secret->current(0) == nullptr);
  CHECK(rig.secrets->view()[0].message == nullptr);
  REQUIRE(rig.send(trust("ROOTCA"), "1"));
  CHECK(secret->current(0)->trusted_ca == ca().pem());
}

TEST_CASE("sds: equal names of one source share a subscription, which ends with the last user") {
  Rig rig;
  rig.start();
  auto a = *rig.secrets->certificate("web", &rig.source), b = *rig.secrets->certificate("web", &rig.source);
  CHECK(a == b);
  auto other_kind = *rig.secrets->validation("web", &rig.source);
  model::ConfigSource file = rig.source;
  file.kind = model::ConfigSource::Kind::file, file.path = "/x";
  auto other_source = *rig.secrets->certificate("web", &file);
  CHECK(rig.factory.alive == 3);
  CHECK(rig.secrets->aggregated(*a));
  CHECK(!rig.secrets->aggregated(*other_source));
  b.reset(), other_kind.reset(), other_source.reset();
  rig.until([&] { return rig.factory.alive == 1; });
  a.reset();
  rig.until([&] { return rig.factory.alive == 0; });
  CHECK(rig.secrets->view().empty());
  // Asked for again before the old one is swept away.
  a = *rig.secrets->certificate("web", &rig.source);
  a.reset();
  a = *rig.secrets->certificate("web", &rig.source);
  rig.until([&] { return rig.factory.alive == 1; });
  rig.turn();
  CHECK(rig.factory.alive == 1);
  rig.factory.refuse = "no such cluster";
  CHECK(rig.secrets->certificate("else", &rig.source).error().message == "no such cluster");
}

TEST_CASE("sds: files that a secret names are read again when their folder is swapped") {
  Rig rig;
  Directory dir;
  dir.publish("1", pair("chain 1"));
  rig.start();
  auto secret = *rig.secrets->certificate("web", &rig.source);
  v3::Secret s;
  s.set_name("web");
  auto* c = s.mutable_tls_certificate();
  c->mutable_certificate_chain()->set_filename(dir.file("..data/cert.pem"));
  c->mutable_private_key()->set_filename(dir.file("..data/key.pem"));
  c->mutable_watched_directory()->set_path(dir.path);
  REQUIRE(rig.send(s, "1"));
  CHECK(secret->current(0)->chain == pair("chain 1").chain);

  dir.publish("2", pair("chain 2"));
  rig.until([&] { return secret->current(0)->chain == pair("chain 2").chain; });
  CHECK(secret->current(0)->private_key == pair("chain 2").key);
  CHECK(rig.stat("sds.web.key_rotation_failed") == 0);

  dir.publish("3", {.certificate = "", .chain = pair("chain 2").chain, .key = pair("chain 1").key});
  rig.until([&] { return rig.stat("sds.web.key_rotation_failed") == 1; });
  CHECK(secret->current(0)->chain == pair("chain 2").chain);
  dir.publish("4", pair("chain 4"));
  rig.until([&] { return secret->current(0)->chain == pair("chain 4").chain; });

  // Without watched_directory each file's own folder is watched.
  Directory plain;
  plain.write("cert.pem", pair("a").chain), plain.write("key.pem", pair("a").key);
  c->clear_watched_directory();
  c->mutable_certificate_chain()->set_filename(plain.file("cert.pem"));
  c->mutable_private_key()->set_filename(plain.file("key.pem"));
  REQUIRE(rig.send(s, "2"));
  CHECK(secret->current(0)->chain == pair("a").chain);
  plain.write("new", pair("a").chain + pair("c").certificate);  // the same, and another behind it
  REQUIRE(::rename(plain.file("new").c_str(), plain.file("cert.pem").c_str()) == 0);
  rig.until([&] { return secret->current(0)->chain == pair("a").chain + pair("c").certificate; });
  CHECK(rig.stat("sds.web.key_rotation_failed") == 1);
}

TEST_CASE("sds: a secret whose files are not there is taken when it comes again and they are") {
  Rig rig;
  Directory dir;
  rig.start();
  auto secret = *rig.secrets->certificate("web", &rig.source);
  v3::Secret s;
  s.set_name("web");
  s.mutable_tls_certificate()->mutable_certificate_chain()->set_filename(dir.file("cert.pem"));
  s.mutable_tls_certificate()->mutable_private_key()->set_filename(dir.file("key.pem"));
  CHECK_FALSE(rig.send(s, "1").ok());
  CHECK_FALSE(rig.send(s, "1").ok());
  CHECK(rig.secrets->view()[0].refused_version == "1");
  dir.write("cert.pem", pair("a").chain), dir.write("key.pem", pair("a").key);
  REQUIRE(rig.send(s, "1"));
  CHECK(rig.secrets->view()[0].refused.empty());
  REQUIRE(secret->current(0));
  CHECK(secret->current(0)->chain == pair("a").chain);
}

TEST_CASE("secrets of the bootstrap: by kind and name, once") {
  Rig rig;
  REQUIRE(rig.secrets->add_static(certificate("web", "static"), "static_resources.secrets[0]"));
  REQUIRE(rig.secrets->add_static(trust("web"), "static_resources.secrets[1]"));
  CHECK(rig.secrets->add_static(certificate("web"), "static_resources.secrets[2]").error().message ==
        "static_resources.secrets[2].name: Duplicate static TlsCertificate secret name web");
  CHECK(rig.secrets->add_static(trust("web"), "s").error().message ==
        "s.name: Duplicate static CertificateValidationContext secret name web");
  v3::Secret nothing;
  nothing.set_name("n");
  CHECK(rig.secrets->add_static(nothing, "s").error().message == "s: Secret type not implemented");
  auto web = rig.secrets->certificate("web", nullptr);
  REQUIRE(web.ok());
  CHECK((*web)->ready());
  CHECK((*web)->current(0)->chain == pair("static").chain);
  CHECK((*web)->current(5)->chain == pair("static").chain);
  CHECK(rig.secrets->certificate("wbe", nullptr).error().message == "Unknown static secret: wbe");
  CHECK(rig.secrets->validation("x", nullptr).error().message ==
        "Unknown static certificate validation context: x");
  CHECK(!rig.secrets->certificate("default", nullptr).ok());  // nobody is intercepted: it is nobody's own
}

std::shared_ptr<const tls::Certificate> own_certificate(const std::string& chain) {
  return config::make_secret(tls::Certificate{.chain = chain, .private_key = "k"}).certificate;
}

TEST_CASE("secrets of workloads: each has its own, or none, never another's") {
  Rig rig(true);
  rig.start();
  auto certificate_of = *rig.secrets->certificate("default", &rig.source);
  auto trust_of = *rig.secrets->validation("ROOTCA", &rig.source);
  auto named = *rig.secrets->certificate("web", &rig.source);
  auto by_id = *rig.secrets->certificate("spiffe://td/ns/a/sa/a", nullptr);
  CHECK(certificate_of->ready());  // nobody waits for what may be a workload's own
  CHECK(!named->ready());
  REQUIRE(rig.send(certificate("default", "the proxy's"), "1", 0));
  REQUIRE(rig.send(trust("ROOTCA"), "1", 1));
  REQUIRE(rig.send(certificate("web", "web"), "1", 2));

  auto& own = *rig.secrets->workloads();
  uint64_t generation = certificate_of->generation();
  auto changed = [&] {
    return std::exchange(generation, certificate_of->generation()) != certificate_of->generation();
  };
  own.put(1, {"spiffe://td/ns/a/sa/a", own_certificate("a"), nullptr});
  CHECK(changed());
  own.put(2, {"spiffe://td/ns/b/sa/b", nullptr, nullptr});  // its certificate has expired
  CHECK(changed());

  CHECK(certificate_of->current(1)->chain == "a");
  CHECK(certificate_of->current(2) == nullptr);
  CHECK(trust_of->current(1) == nullptr);
  CHECK(certificate_of->current(3)->chain == pair("the proxy's").chain);  // has no source of its own
  CHECK(certificate_of->current(0)->chain == pair("the proxy's").chain);
  CHECK(trust_of->current(3)->trusted_ca == ca().pem());
  CHECK(named->current(1)->chain == pair("web").chain);
  CHECK(by_id->current(1)->chain == "a");
  CHECK(by_id->current(2) == nullptr);  // that name is not its own, and nothing else has it
  CHECK(by_id->current(0) == nullptr);

  own.forget(1);
  CHECK(changed());
  CHECK(certificate_of->current(1) == nullptr);  // what is left of it is not the proxy
  CHECK(by_id->current(1) == nullptr);
  own.use_configured(1);
  CHECK(changed());
  CHECK(certificate_of->current(1)->chain == pair("the proxy's").chain);
  own.forget(99);
  CHECK(!changed());
}

TEST_CASE("secrets of workloads: a thousand, read by many threads while they change, are never mixed") {
  constexpr uint64_t kWorkloads = 1000;
  Rig rig(true);
  auto secret = *rig.secrets->certificate("default", nullptr);
  auto& own = *rig.secrets->workloads();
  auto id = [](uint64_t w) { return "spiffe://td/ns/n/sa/" + std::to_string(w); };
  for (uint64_t w = 1; w <= kWorkloads; ++w) own.put(w, {id(w), own_certificate(id(w) + " 0"), nullptr});

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> mixed{0}, reads{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t)
    readers.emplace_back([&, t] {
      uint64_t w = static_cast<uint64_t>(t) * 97;
      while (!stop.load(std::memory_order_relaxed)) {
        w = w % kWorkloads + 1;
        const auto c = secret->current(w);
        // Null while it is rotated "expired"; else its own.
        if (c && !c->chain.starts_with(id(w) + " ")) ++mixed;
        ++reads;
      }
    });
  for (int round = 1; round <= 20; ++round)
    for (uint64_t w = 1; w <= kWorkloads; ++w)
      own.put(w, {id(w),
                  (w + static_cast<uint64_t>(round)) % 10 == 0
                      ? nullptr
                      : own_certificate(id(w) + " " + std::to_string(round)),
                  nullptr});
  while (reads < 10 * kWorkloads) std::this_thread::yield();
  stop = true;
  for (auto& t : readers) t.join();
  CHECK(mixed == 0);
  CHECK(own.size() == kWorkloads);
  for (uint64_t w = 1; w <= kWorkloads; ++w) own.forget(w);
  CHECK(own.size() == 0);
  CHECK(secret->current(1) == nullptr);
}

}  // namespace
}  // namespace sluice::xds
