// The transports of one configuration: whose context it is, when it is made again, and what is counted.
#include "extensions/transport_sockets/tls/context_cache.h"
#include "extensions/transport_sockets/tls/settings.h"
#include "test/unit/tls/rig.h"

namespace sluice::extensions::transport_tls {
namespace {

using namespace sluice::tls::test;

// Secrets that a test puts there, by workload.
template <typename T>
class Fake final : public model::SecretSource<T> {
 public:
  bool ready() const override { return !secrets_.empty(); }
  std::string what() const override { return "a test's secret"; }
  uint64_t generation() const override { return generation_; }
  std::shared_ptr<const T> current(uint64_t workload) const override {
    auto it = secrets_.find(workload);
    return it == secrets_.end() ? nullptr : it->second;
  }
  uint64_t updates() const override { return updates_; }
  void observe(const std::weak_ptr<model::SecretObserver>& observer) const override {
    observers_.add(observer);
  }
  void set(uint64_t workload, std::shared_ptr<const T> secret) {
    secrets_[workload] = std::move(secret);
    changed(workload);
  }
  void remove(uint64_t workload) {
    secrets_.erase(workload);
    changed(workload);
  }

 private:
  void changed(uint64_t workload) {
    ++generation_;
    if (workload == 0) ++updates_;
    observers_.tell(workload);
  }

  uint64_t generation_ = 0, updates_ = 0;
  mutable model::SecretObservers observers_;
  std::map<uint64_t, std::shared_ptr<const T>> secrets_;
};
using FakeCertificate = Fake<tls::Certificate>;
using FakeValidation = Fake<tls::Validation>;

struct Rig {
  ClockLoop loop;
  stats::Store store{2};
  TestCa ca{"Test CA", loop.wall};
  std::shared_ptr<FakeCertificate> certificate = std::make_shared<FakeCertificate>();
  std::shared_ptr<FakeValidation> validation = std::make_shared<FakeValidation>();

  SecretSources sources() {
    SecretSources out;
    out.certificates.push_back({.name = "default", .source = certificate, .discovered = true});
    out.validation = {.name = "ROOTCA", .source = validation, .discovered = true};
    return out;
  }
  std::shared_ptr<const tls::Certificate> identity(const std::string& name,
                                                   std::chrono::seconds ends = std::chrono::hours(1)) {
    return tls::test::certificate(
        ca.issue({.common_name = name, .sans = {"URI:spiffe://td/" + name}, .ends = ends}));
  }
  ext::TransportScope scope(const char* name) {
    return {.stats = store.root(1).scope(name).scope("x"), .loop = loop};
  }
  std::unique_ptr<ext::DownstreamTransport> server() {
    auto config = std::make_shared<ServerConfig>();
    config->secrets = sources();
    config->settings.require_client_certificate = true;
    return make_server_factory(std::move(config))(scope("listener"));
  }
  std::unique_ptr<ext::UpstreamTransport> client() {
    auto config = std::make_shared<ClientConfig>();
    config->secrets = sources();
    return make_client_factory(std::move(config))(scope("cluster"));
  }
  uint64_t stat(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return ~0ull;
  }
};

// What the two say of each other: (the client's URI as the server sees it, and the other way round); "" where it failed.
std::pair<std::string, std::string> handshake(ext::TransportSocketPtr server,
                                              ext::TransportSocketPtr client) {
  if (!server || !client) return {"no socket", "no socket"};
  Buffer to_server, to_client, plain;
  client->start(to_server);
  for (int i = 0; i < 20 && (!to_server.empty() || !to_client.empty()); ++i) {
    if (!to_server.empty()) server->receive(to_server, false, plain, to_client);
    if (!to_client.empty()) client->receive(to_client, false, plain, to_server);
  }
  auto uri = [](ext::TransportSocket& s) {
    const auto info = s.tls_info();
    return info && info->peer() && !info->peer()->uri_sans.empty() ? info->peer()->uri_sans[0]
                                                                   : std::string();
  };
  return {uri(*server), uri(*client)};
}

TEST_CASE("without its secrets nothing is made, and the reason is Envoy's") {
  Rig rig;
  auto server = rig.server();
  auto client = rig.client();
  std::string why;
  CHECK_FALSE(server->make({}, why));
  CHECK(why == "TLS error: Secret is not supplied by SDS");
  CHECK_FALSE(client->make({}, why));
  CHECK(rig.stat("listener.x.server_ssl_socket_factory.downstream_context_secrets_not_ready") == 1);
  CHECK(rig.stat("cluster.x.client_ssl_socket_factory.upstream_context_secrets_not_ready") == 1);
  // One of the two is not enough.
  rig.certificate->set(0, rig.identity("a"));
  CHECK_FALSE(server->make({}, why));
  rig.validation->set(0, trusting(rig.ca));
  CHECK(server->make({}, why));
}

TEST_CASE("updates are counted as they come, from the configuration's making on, by one worker") {
  Rig rig;
  const std::string name = "listener.x.server_ssl_socket_factory.ssl_context_update_by_sds";
  rig.certificate->set(0, rig.identity("a"));
  auto config = std::make_shared<ServerConfig>();
  config->secrets = rig.sources();
  config->secrets.certificates[0].updates_before = 1;
  rig.validation->set(0, trusting(rig.ca));  // while the listener warms
  const auto factory = make_server_factory(config);
  auto server = factory(rig.scope("listener"));
  CHECK(rig.stat(name) == 1);
  for (int i = 0; i < 3; ++i) rig.certificate->set(0, rig.identity("b"));
  CHECK(rig.stat(name) == 1);  // no thread but its own writes a statistic
  rig.loop.run_once(Duration(0));
  CHECK(rig.stat(name) == 4);
  // A workload's own: its coming counts, its going does not.
  rig.certificate->set(7, rig.identity("seven"));
  rig.certificate->remove(7);
  rig.certificate->set(8, rig.identity("eight"));
  rig.loop.run_once(Duration(0));
  CHECK(rig.stat(name) == 5);
  // Values of all threads are added up: another worker and the control thread say nothing.
  stats::Store two(3);
  auto second = factory({.stats = two.root(2).scope("listener").scope("x"), .loop = rig.loop});
  rig.certificate->set(0, rig.identity("c"));
  rig.loop.run_once(Duration(0));
  CHECK(rig.stat(name) == 6);
  for (const auto& m : two.snapshot())
    if (m.name == name) CHECK(m.value == 0);
  // What is on its way when it ends goes nowhere.
  rig.certificate->set(0, rig.identity("d"));
  server.reset();
  rig.certificate->set(0, rig.identity("e"));
  rig.loop.run_once(Duration(0));
  CHECK(rig.stat(name) == 6);
}

TEST_CASE("a connection speaks for its workload, whatever else shares the process") {
  Rig rig;
  rig.validation->set(1, trusting(rig.ca));
  rig.validation->set(2, trusting(rig.ca));
  rig.certificate->set(1, rig.identity("one"));
  rig.certificate->set(2, rig.identity("two"));
  auto server = rig.server();
  auto client = rig.client();
  std::string why;
  for (uint64_t from : {1, 2})
    for (uint64_t to : {1, 2, 1}) {
      const auto seen = handshake(server->make({.workload = to}, why), client->make({.workload = from}, why));
      CHECK(seen.first == (from == 1 ? "spiffe://td/one" : "spiffe://td/two"));
      CHECK(seen.second == (to == 1 ? "spiffe://td/one" : "spiffe://td/two"));
    }
  // The proxy itself and a workload that is not known have none.
  CHECK_FALSE(client->make({.workload = 0}, why));
  CHECK_FALSE(client->make({.workload = 3}, why));
}

TEST_CASE("a new secret is used by the next connection, and one that began goes on") {
  Rig rig;
  rig.validation->set(0, trusting(rig.ca));
  rig.certificate->set(0, rig.identity("old"));
  auto server = rig.server();
  auto client = rig.client();
  std::string why;
  auto begun = client->make({}, why);
  rig.certificate->set(0, rig.identity("new"));
  CHECK(handshake(server->make({}, why), client->make({}, why)).first == "spiffe://td/new");
  CHECK(handshake(server->make({}, why), std::move(begun)).first == "spiffe://td/old");
}

TEST_CASE("a secret that has gone ends new connections") {
  Rig rig;
  rig.validation->set(0, trusting(rig.ca));
  rig.certificate->set(0, rig.identity("a"));
  auto client = rig.client();
  std::string why;
  CHECK(client->make({}, why));
  rig.certificate->remove(0);
  CHECK_FALSE(client->make({}, why));
}

TEST_CASE("when certificates expire is shown: of several workloads the first") {
  Rig rig;
  rig.validation->set(0, trusting(rig.ca));
  rig.certificate->set(0, rig.identity("a", std::chrono::hours(2)));
  auto client = rig.client();
  const auto at = [&](std::chrono::hours h) {
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>((rig.loop.wall + h).time_since_epoch()).count());
  };
  const std::string name = "cluster.x.ssl.certificate.default.expiration_unix_time_seconds";
  CHECK(rig.stat(name) == at(std::chrono::hours(2)));  // before anybody connects
  rig.certificate->set(5, rig.identity("b", std::chrono::hours(1)));
  rig.validation->set(5, trusting(rig.ca));
  std::string why;
  CHECK(client->make({.workload = 5}, why));
  CHECK(rig.stat(name) == at(std::chrono::hours(1)));
  client->forget_workload(5);
  CHECK(rig.stat(name) == at(std::chrono::hours(2)));
  CHECK(rig.stat("cluster.x.ssl.certificate.ROOTCA.expiration_unix_time_seconds") != ~0ull);
}

TEST_CASE("an expiry moves when the secret arrives, not with the next connection") {
  Rig rig;
  rig.validation->set(0, trusting(rig.ca));
  auto client = rig.client();
  const auto in_hours = [&](int h) {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                     (rig.loop.wall + std::chrono::hours(h)).time_since_epoch())
                                     .count());
  };
  auto put = [&](uint64_t workload, int hours) {
    rig.certificate->set(workload, rig.identity("x", std::chrono::hours(hours)));
    rig.loop.run_once(Duration(0));
  };
  const std::string name = "cluster.x.ssl.certificate.default.expiration_unix_time_seconds";
  put(0, 2);
  CHECK(rig.stat(name) == in_hours(2));
  put(0, 3);
  CHECK(rig.stat(name) == in_hours(3));
  rig.validation->set(5, trusting(rig.ca));
  put(5, 1);
  CHECK(rig.stat(name) == in_hours(3));  // it has not connected: there is no context
  std::string why;
  CHECK(client->make({.workload = 5}, why));
  CHECK(rig.stat(name) == in_hours(1));
  put(5, 2);
  CHECK(rig.stat(name) == in_hours(2));
  put(0, 1);
  CHECK(rig.stat(name) == in_hours(1));
  put(0, 9);
  CHECK(rig.stat(name) == in_hours(2));
  rig.certificate->remove(5);
  rig.loop.run_once(Duration(0));
  CHECK(rig.stat(name) == in_hours(9));
}

TEST_CASE("names without a CA are refused, also where a merge comes to that") {
  Rig rig;
  auto config = std::make_shared<ClientConfig>();
  config->secrets = rig.sources();
  tls::Validation names;
  names.sans.push_back({});
  config->secrets.validation_default = shared(std::move(names));
  rig.certificate->set(0, rig.identity("a"));
  rig.validation->set(0, shared(tls::Validation{}));
  auto client = make_client_factory(std::move(config))(rig.scope("cluster"));
  std::string why;
  CHECK_FALSE(client->make({}, why));
  CHECK(why.find("without trusted CA") != std::string::npos);
}

TEST_CASE("merging is protobuf's: what is said replaces, lists are joined") {
  tls::Validation base, found;
  base.trusted_ca = "old", base.ca_name = "a", base.crl = "crl", base.max_verify_depth = 3;
  base.certificate_hashes = {"1"};
  found.trusted_ca = "new", found.ca_name = "b", found.accept_untrusted = true;
  found.certificate_hashes = {"2"};
  const tls::Validation m = merge(base, found);
  CHECK(m.trusted_ca == "new");
  CHECK(m.ca_name == "b");
  CHECK(m.crl == "crl");
  CHECK(m.accept_untrusted);
  CHECK(m.max_verify_depth == 3);
  CHECK(m.certificate_hashes == std::vector<std::string>{"1", "2"});
}

struct CacheRig {
  std::shared_ptr<FakeCertificate> certificate = std::make_shared<FakeCertificate>();
  SecretSources sources;
  int made = 0;
  CacheRig() { sources.certificates.push_back({.name = "c", .source = certificate}); }
  auto make() {
    return [this](const SecretSet&) -> Result<std::shared_ptr<int>> { return std::make_shared<int>(++made); };
  }
};

TEST_CASE("a context is made once a secret, and shared among workloads that have the same") {
  CacheRig rig;
  ContextCache<int> cache(rig.sources);
  const auto same = shared(tls::Certificate{});
  for (uint64_t w = 1; w <= 3; ++w) rig.certificate->set(w, same);
  rig.certificate->set(4, shared(tls::Certificate{}));
  auto get = [&](uint64_t w) { return cache.get(w, rig.sources.generation(), rig.make()).context; };
  const auto first = get(1);
  CHECK(get(2) == first);
  CHECK(get(3) == first);
  CHECK(get(4) != first);
  CHECK(rig.made == 2);
  // Somebody else's is replaced: nothing is made for those whose secret stays.
  rig.certificate->set(4, shared(tls::Certificate{}));
  CHECK(get(1) == first);
  CHECK(rig.made == 2);
  CHECK(*get(4) == 3);
}

TEST_CASE("the cache is bounded, forgets on demand, and holds no context of who has gone") {
  CacheRig rig;
  ContextCache<int> cache(rig.sources);
  auto get = [&](uint64_t w) { return cache.get(w, rig.sources.generation(), rig.make()).context; };
  rig.certificate->set(1, shared(tls::Certificate{}));
  std::weak_ptr<int> one = get(1);
  cache.forget(1);
  CHECK(one.expired());
  const auto same = shared(tls::Certificate{});
  for (uint64_t w = 1; w <= ContextCache<int>::kMaxEntries + 10; ++w) rig.certificate->set(w, same);
  for (uint64_t w = 1; w <= ContextCache<int>::kMaxEntries + 10; ++w) get(w);
  CHECK(cache.entries().size() == ContextCache<int>::kMaxEntries);
  CHECK(rig.made == 2);
}

TEST_CASE("what cannot be made is not tried again until its secret is another") {
  CacheRig rig;
  ContextCache<int> cache(rig.sources);
  rig.certificate->set(1, shared(tls::Certificate{}));
  int tried = 0;
  auto get = [&] {
    return cache.get(1, rig.sources.generation(), [&](const SecretSet&) -> Result<std::shared_ptr<int>> {
      ++tried;
      return Error{"no key"};
    });
  };
  CHECK(get().failure == "TLS error: no key");
  get();
  CHECK(tried == 1);
  rig.certificate->set(1, shared(tls::Certificate{}));
  get();
  CHECK(tried == 2);
}

}  // namespace
}  // namespace sluice::extensions::transport_tls
