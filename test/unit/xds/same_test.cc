#include <algorithm>
#include <map>

#include "core/random.h"
#include "test/unit/xds/mux_rig.h"
#include "xds/same_index.h"
#include "xds/sotw_mux.h"

// What comes again unchanged in a state-of-the-world response: counted, and told when somebody asks.
namespace sluice::xds {
namespace {

google::protobuf::Any assignment(const std::string& name, uint32_t dropped = 0) {
  envoy::config::endpoint::v3::ClusterLoadAssignment a;
  a.set_cluster_name(name);
  if (dropped > 0)
    a.mutable_policy()->add_drop_overloads()->mutable_drop_percentage()->set_numerator(dropped);
  return any_of(kEndpoints, a.SerializeAsString());
}

struct Rig {
  explicit Rig(size_t s = any_step()) : mux(transport, options()), step(s) {
    a.counts = b.counts = c.counts = true;
    transport.is_open = true;
    mux.on_open();
    watches.push_back(mux.watch(ResourceType::endpoints, {"a"}, a));
    watches.push_back(mux.watch(ResourceType::endpoints, {"b"}, b));
    watches.push_back(mux.watch(ResourceType::endpoints, {"c"}, c));
  }
  // Whether it was accepted.
  bool receive(const std::string& version, const std::vector<google::protobuf::Any>& resources) {
    discovery::DiscoveryResponse r;
    r.set_type_url(kEndpoints);
    r.set_version_info(version);
    r.set_nonce(version);
    for (const auto& any : resources) *r.add_resources() = any;
    at += std::chrono::seconds(1);
    REQUIRE(feed(mux, r.SerializeAsString(), at, step).ok());
    const auto sent = transport.take();
    REQUIRE(!sent.empty());
    CHECK(sent.back().response_nonce() == version);
    CHECK(names_of(sent.back().resource_names()) == Names{"a", "b", "c"});
    return !sent.back().has_error_detail();
  }
  FakeTransport<discovery::DiscoveryRequest> transport;
  SotwMux mux;
  FakeWatcher a, b, c;
  std::vector<std::unique_ptr<Watch>> watches;
  MonotonicTime at{};
  const size_t step;
};

TEST_CASE("same again: counted, in any order, and told when asked for; what changed is told at once") {
  Rig rig;
  rig.transport.take();
  REQUIRE(rig.receive("v1", {assignment("a"), assignment("b"), assignment("c")}));
  REQUIRE(rig.receive("v2", {assignment("c"), assignment("a"), assignment("b", 1)}));
  REQUIRE(rig.receive("v3", {assignment("b", 1), assignment("a"), assignment("c")}));
  CHECK(rig.a.updates == 1);
  CHECK(rig.b.updates == 2);
  CHECK(rig.c.updates == 1);
  CHECK(rig.a.same + rig.b.same + rig.c.same == 0);
  rig.mux.tell_counts();
  rig.mux.tell_counts();
  CHECK(rig.a.same == 2);
  CHECK(rig.b.same == 1);
  CHECK(rig.c.same == 2);
  CHECK(rig.a.version == "v3");
  CHECK(rig.b.version == "v3");
  CHECK(rig.a.same_at == rig.at);
  CHECK(rig.a.unpacked == 1);
}

TEST_CASE("same again: one that a response leaves out is not counted with it, nor one that is told") {
  Rig rig;
  rig.transport.take();
  REQUIRE(rig.receive("v1", {assignment("a"), assignment("b"), assignment("c")}));
  REQUIRE(rig.receive("v2", {assignment("a"), assignment("b"), assignment("c")}));
  REQUIRE(rig.receive("v3", {assignment("a"), assignment("a"), assignment("c", 1)}));
  CHECK(rig.b.same == 1);
  CHECK(rig.b.version == "v2");
  CHECK(rig.c.same == 1);
  CHECK(rig.c.version == "v3");
  REQUIRE(rig.receive("v4", {assignment("b")}));
  rig.mux.tell_counts();
  CHECK(rig.a.same == 2);
  CHECK(rig.a.version == "v3");
  CHECK(rig.b.same == 2);
  CHECK(rig.b.version == "v4");
  CHECK(rig.c.same == 1);
  CHECK(rig.c.updates == 2);
  CHECK(rig.b.updates == 1);
}

TEST_CASE("same again: after a refusal, another watch, or for who wants to be told, it is told") {
  Rig rig;
  rig.transport.take();
  REQUIRE(rig.receive("v1", {assignment("a"), assignment("b"), assignment("c")}));
  rig.b.refuse = "no";
  REQUIRE(!rig.receive("v2", {assignment("a", 1), assignment("b", 1), assignment("c")}));
  rig.b.refuse.clear();
  // "a" has taken what was not acknowledged.
  REQUIRE(rig.receive("v3", {assignment("a"), assignment("b"), assignment("c")}));
  CHECK(rig.a.updates == 3);
  CHECK(rig.b.updates == 3);
  CHECK(rig.c.updates == 1);

  FakeWatcher late;
  late.counts = true;
  auto watch = rig.mux.watch(ResourceType::endpoints, {"c"}, late);
  CHECK(rig.c.same == 2);
  rig.a.counts = false;
  REQUIRE(rig.receive("v4", {assignment("a"), assignment("b"), assignment("c")}));
  CHECK(late.updates == 1);
  CHECK(rig.c.updates == 2);
  CHECK(rig.a.updates == 3);  // was asked before
  watch.reset();
  REQUIRE(rig.receive("v5", {assignment("a", 2), assignment("b"), assignment("c")}));
  REQUIRE(rig.receive("v6", {assignment("a", 2), assignment("b"), assignment("c")}));
  CHECK(rig.a.updates == 5);
  CHECK(rig.c.updates == 3);
  rig.mux.tell_counts();
  CHECK(rig.c.same == 3);
  CHECK(rig.b.same == 3);

  // A wildcard gets everything, and so does everybody else.
  FakeWatcher all;
  auto wildcard = rig.mux.watch(ResourceType::endpoints, {}, all);
  rig.mux.flush();
  rig.transport.take();
  REQUIRE(rig.receive("v7", {assignment("a", 2), assignment("b"), assignment("c")}));
  CHECK(all.names == Names{"a", "b", "c"});
  CHECK(rig.c.updates == 4);
  CHECK(rig.b.updates == 4);
}

TEST_CASE("same again: whoever goes is told before; names that a wrapper gives are no content's") {
  Rig rig;
  rig.transport.take();
  REQUIRE(rig.receive("v1", {assignment("a"), assignment("b"), assignment("c")}));
  REQUIRE(rig.receive("v2", {assignment("a"), assignment("b"), assignment("c")}));
  rig.watches.pop_back();
  CHECK(rig.c.same == 1);
  rig.watches.push_back(rig.mux.watch(ResourceType::endpoints, {"c"}, rig.c));
  REQUIRE(rig.receive("v3", {assignment("c")}));
  CHECK(rig.c.updates == 2);

  discovery::Resource r;
  r.set_name("c");
  *r.mutable_resource() = assignment("a", 7);
  const auto wrapped =
      any_of("type.googleapis.com/envoy.service.discovery.v3.Resource", r.SerializeAsString());
  REQUIRE(rig.receive("v4", {wrapped}));
  REQUIRE(rig.receive("v5", {wrapped, assignment("a", 7)}));
  CHECK(rig.c.updates == 4);
  CHECK(rig.a.updates == 2);
}

google::protobuf::Any cluster(const std::string& name, const std::string& alt = "") {
  return any_of(kClusters, cluster_bytes(name, alt));
}

struct WildcardRig {
  WildcardRig() : mux(transport, options()) {
    all.takes = true;
    all.ask_for = {"a", "b", "c", "d"};
    transport.is_open = true;
    mux.on_open();
    watch = mux.watch(ResourceType::cluster, {}, all);
    transport.take();
  }
  bool receive(const std::string& version, const std::vector<google::protobuf::Any>& resources) {
    discovery::DiscoveryResponse r;
    r.set_type_url(kClusters);
    r.set_version_info(version);
    for (const auto& any : resources) *r.add_resources() = any;
    REQUIRE(feed(mux, r.SerializeAsString(), {}, step).ok());
    const auto sent = transport.take();
    REQUIRE(sent.size() == 1);
    return !sent.back().has_error_detail();
  }
  FakeTransport<discovery::DiscoveryRequest> transport;
  SotwMux mux;
  FakeWatcher all;
  std::unique_ptr<Watch> watch;
  const size_t step = any_step();
};

TEST_CASE("same again: a wildcard's subscriber gets what changed, and can ask for the rest") {
  WildcardRig rig;
  REQUIRE(rig.receive("v1", {cluster("a"), cluster("b"), cluster("c")}));
  CHECK(rig.all.names == Names{"a", "b", "c"});
  CHECK(rig.all.same_count == 0);
  REQUIRE(rig.receive("v2", {cluster("c"), cluster("b", "x"), cluster("a")}));
  CHECK(rig.all.names == Names{"b"});
  CHECK(rig.all.same_count == 2);
  CHECK(rig.all.same_names == Names{"a", "c"});
  CHECK(!rig.all.delta);
  CHECK(rig.all.version == "v2");
  // One goes, and is told when it is back with the same bytes.
  REQUIRE(rig.receive("v3", {cluster("a"), cluster("b", "x")}));
  CHECK(rig.all.names.empty());
  CHECK(rig.all.same_names == Names{"a", "b"});
  REQUIRE(rig.receive("v4", {cluster("a"), cluster("b", "x"), cluster("c")}));
  CHECK(rig.all.names == Names{"c"});
  CHECK(rig.all.updates == 4);
}

TEST_CASE("same again: a wildcard's subscriber sees what is given twice, and all that it refused") {
  WildcardRig rig;
  REQUIRE(rig.receive("v1", {cluster("a"), cluster("b")}));
  REQUIRE(rig.receive("v2", {cluster("a"), cluster("a"), cluster("b")}));
  CHECK(rig.all.names == Names{"a"});
  CHECK(rig.all.same_names == Names{"a", "b"});
  REQUIRE(rig.receive("v3", {cluster("a", "x"), cluster("a"), cluster("b")}));
  CHECK(rig.all.names == Names{"a"});
  CHECK(rig.all.same_names == Names{"a", "b"});
  REQUIRE(rig.receive("v4", {cluster("a"), cluster("b")}));
  CHECK(rig.all.names == Names{"a"});
  rig.all.refuse = "no";
  REQUIRE(!rig.receive("v5", {cluster("a", "y"), cluster("b")}));
  CHECK(rig.all.names == Names{"a"});
  CHECK(rig.all.same_names == Names{"b"});
  rig.all.refuse.clear();
  REQUIRE(rig.receive("v6", {cluster("a"), cluster("b")}));
  CHECK(rig.all.names == Names{"a"});
  REQUIRE(rig.receive("v7", {cluster("a"), cluster("b")}));
  CHECK(rig.all.names.empty());

  // A name that somebody else wants, too.
  FakeWatcher other;
  auto second = rig.mux.watch(ResourceType::cluster, {"a"}, other);
  rig.mux.flush();
  rig.transport.take();
  REQUIRE(rig.receive("v8", {cluster("a"), cluster("b")}));
  CHECK(rig.all.names == Names{"a"});
  CHECK(rig.all.same_names == Names{"b"});
  CHECK(other.names == Names{"a"});
  second.reset();
  rig.watch.reset();
  rig.all.updates = 0;
  rig.watch = rig.mux.watch(ResourceType::cluster, {}, rig.all);
  rig.mux.flush();
  rig.transport.take();
  REQUIRE(rig.receive("v9", {cluster("a"), cluster("b")}));
  CHECK(rig.all.names == Names{"a", "b"});
}

discovery::DiscoveryResponse response(const std::string& url,
                                      const std::vector<google::protobuf::Any>& resources) {
  discovery::DiscoveryResponse r;
  for (const auto& any : resources) *r.add_resources() = any;
  r.set_type_url(url);
  r.set_version_info("v9");
  r.set_nonce("n9");
  return r;
}

// Once `passed` of the message's bytes have come.
std::function<void(size_t)> once_at(size_t passed, std::function<void()> f) {
  return [passed, f = std::move(f), done = false](size_t come) mutable {
    if (come >= passed && !std::exchange(done, true)) f();
  };
}

struct PassingRig : Rig {
  PassingRig() : Rig(0) {
    transport.take();
    REQUIRE(receive("v1", {assignment("a"), assignment("b"), assignment("c")}));
  }
  // "a" and "b" are passed over, then f runs, then the rest comes.
  Status with(std::function<void()> f) {
    const auto r = response(kEndpoints, {assignment("a"), assignment("b"), assignment("c", 1)});
    auto first = response("", {assignment("a"), assignment("b")});
    first.clear_nonce();  // which is behind them
    return feed(mux, r.SerializeAsString(), at, 1, once_at(first.ByteSizeLong(), std::move(f)));
  }
};

TEST_CASE(
    "same again: what goes while a response comes that brings it is not counted, and nothing else is lost") {
  PassingRig rig;
  REQUIRE(rig.with([&] { rig.watches.erase(rig.watches.begin()); }).ok());
  CHECK(rig.c.updates == 2);
  rig.mux.tell_counts();
  CHECK(rig.a.same == 0);
  CHECK(rig.b.same == 1);
  // Nothing is known of it any more.
  rig.watches.push_back(rig.mux.watch(ResourceType::endpoints, {"a"}, rig.a));
  REQUIRE(rig.receive("v10", {assignment("a"), assignment("b"), assignment("c", 1)}));
  CHECK(rig.a.updates == 2);
  CHECK(rig.b.updates == 1);
}

TEST_CASE("same again: whoever asks for what has been passed over gets it from another stream") {
  PassingRig rig;
  FakeWatcher late;
  std::unique_ptr<Watch> watch;
  SUBCASE("one more of the same name") {
    CHECK(!rig.with([&] { watch = rig.mux.watch(ResourceType::endpoints, {"b"}, late); }).ok());
  }
  SUBCASE("a name that had gone") {
    CHECK(!rig.with([&] {
                rig.watches.erase(rig.watches.begin() + 1);
                watch = rig.mux.watch(ResourceType::endpoints, {"b"}, late);
              })
               .ok());
  }
  SUBCASE("a wildcard") {
    CHECK(!rig.with([&] { watch = rig.mux.watch(ResourceType::endpoints, {}, late); }).ok());
  }
  SUBCASE("a name that is not among them") {
    CHECK(rig.with([&] { watch = rig.mux.watch(ResourceType::endpoints, {"d"}, late); }).ok());
    CHECK(rig.c.updates == 2);
    return;
  }
  CHECK(rig.c.updates == 1);
  rig.transport.take();
  rig.mux.on_open();
  const auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].version_info() == "");  // whatever the server believes
  CHECK(sent[0].response_nonce() == "");
  REQUIRE(
      feed(rig.mux,
           response(kEndpoints, {assignment("a"), assignment("b"), assignment("c", 1)}).SerializeAsString(),
           rig.at, 0)
          .ok());
  CHECK(late.updates == 1);
  CHECK(rig.c.updates == 2);
}

TEST_CASE("same again: a stream that ends in a response leaves nothing of it") {
  PassingRig rig;
  const std::string bytes =
      response(kEndpoints, {assignment("a"), assignment("b", 1), assignment("c", 1)}).SerializeAsString();
  for (const size_t cut : {bytes.size() / 2, bytes.size() - 1}) {
    rig.mux.on_part(bytes.substr(0, cut), bytes.size());
    rig.mux.on_closed();
    rig.mux.on_open();
  }
  rig.transport.take();
  REQUIRE(rig.receive("v2", {assignment("a"), assignment("b"), assignment("c")}));
  CHECK(rig.a.updates + rig.b.updates + rig.c.updates == 3);
  rig.mux.tell_counts();
  CHECK(rig.a.same + rig.b.same + rig.c.same == 3);
}

TEST_CASE(
    "same again: a response that turns out to be for another type is refused, whatever was passed over") {
  PassingRig rig;
  FakeWatcher clusters;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, clusters);
  rig.mux.flush();
  rig.transport.take();
  REQUIRE(
      feed(rig.mux, response(kClusters, {assignment("a"), assignment("b")}).SerializeAsString(), rig.at, 1)
          .ok());
  const auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].type_url() == kClusters);
  CHECK(sent[0].error_detail().message() ==
        kEndpoints + " does not match the message-wide type URL " + kClusters + " in DiscoveryResponse");
  CHECK(clusters.rejected == 1);
  rig.mux.tell_counts();
  CHECK(rig.a.same == 0);
}

TEST_CASE("same index: what a map would say, whatever was added and removed") {
  Random random(7);
  SameIndex<int> index;
  std::map<uint64_t, int*> model;
  int values[64] = {};
  for (int i = 0; i < 20'000; ++i) {
    // Few places, so that runs are long and wrap around.
    const uint64_t hash = random.below(40) << 40 | random.below(5);
    int& value = values[random.below(64)];
    if (random.below(2) == 0) {
      CHECK(index.add(hash, value) == model.emplace(hash, &value).second);
    } else {
      index.remove(hash);
      model.erase(hash);
    }
    REQUIRE(index.size() == model.size());
    for (uint64_t other = 0; other < 5; ++other) {
      const uint64_t wanted = (hash >> 40) << 40 | other;
      auto* slot = index.find(wanted);
      const auto at = model.find(wanted);
      REQUIRE((slot != nullptr) == (at != model.end()));
      if (slot != nullptr) REQUIRE(&index.value(*slot) == at->second);
    }
  }
  size_t n = 0;
  index.for_each([&](auto& slot) { n += model.at(slot.hash) == &index.value(slot); });
  CHECK(n == model.size());
}

}  // namespace
}  // namespace sluice::xds
