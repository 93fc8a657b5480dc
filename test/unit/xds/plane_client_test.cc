#include "xds/plane_client.h"

#include <algorithm>

#include "test/sim/sim_loop.h"
#include "test/unit/xds/mux_rig.h"

namespace sluice::xds {
namespace {

TEST_CASE("back-off: a random part of an interval that doubles up to its limit, and starts again") {
  using std::chrono::milliseconds;
  Random random(7);
  BackOff back_off(milliseconds(500), std::chrono::seconds(30));
  Duration largest{};
  for (int round = 0; round < 2000; ++round) {
    Duration limit = milliseconds(500);
    for (int i = 0; i < 10; ++i) {
      const Duration wait = back_off.next(random);
      CHECK(wait >= Duration(0));
      CHECK(wait < limit);
      largest = std::max(largest, wait);
      limit = std::min<Duration>(limit * 2, std::chrono::seconds(30));
    }
    back_off.reset();
  }
  CHECK(largest > std::chrono::seconds(29));
}

// A cluster whose one stream is in the hands of the test.
struct FakeCluster final : ext::Cluster,
                           ext::HttpCluster,
                           ext::ClusterManager,
                           std::enable_shared_from_this<FakeCluster> {
  struct Stream final : http::Stream {
    void send_headers(const http::HeaderMap& h, bool) override { headers = http::copy_headers(h); }
    void send_informational(const http::HeaderMap&) override {}
    void send_data(Buffer&& data, bool) override {
      body += data.to_string();
      data.clear();
    }
    void send_trailers(const http::HeaderMap&) override {}
    void reset(http::ResetReason) override {}
    void pause_reading() override {}
    void resume_reading() override {}
    void set_buffer_limit(uint32_t) override {}
    bool above_write_high_watermark() const override { return false; }
    const Bytes& bytes() const override { return counted; }
    uint32_t id() const override { return 1; }
    http::Protocol protocol() const override { return version; }
    http::HeaderMapPtr headers;
    std::string body;
    Bytes counted;
    http::Protocol version = http::Protocol::http2;
  };
  struct Below final : ext::Connection {
    uint64_t id() const override { return 1; }
    const Address& local_address() const override { return address; }
    const Address& remote_address() const override { return address; }
    void write(Buffer&&, bool) override {}
    void pause_reading() override {}
    void resume_reading() override {}
    void close(ext::CloseKind, std::string_view) override {}
    bool open() const override { return true; }
    size_t unsent() const override { return 0; }
    bool above_high_watermark() const override { return false; }
    bool secure() const override { return tls; }
    Address address;
    bool tls = false;
  };
  struct Try final : ext::HttpTry {
    Try(FakeCluster& c, http::StreamReceiver& r, Callbacks& cb) : cluster(c), receiver(r), callbacks(cb) {
      cluster.current = this;
    }
    ~Try() override {
      if (cluster.current == this) cluster.current = nullptr;
    }
    void start() override { ++cluster.starts; }
    const ext::UpstreamHost* host() const override { return nullptr; }
    ext::Connection& connection() override { return below; }
    MonotonicTime connect_started() const override { return {}; }
    MonotonicTime connect_done() const override { return {}; }
    uint64_t connection_streams() const override { return 1; }
    bool may_be_unseen() const override { return false; }
    void report(ext::TryResult) override {}
    void report_status(uint16_t) override {}
    void report_immediate_health_check_fail() override {}
    FakeCluster& cluster;
    http::StreamReceiver& receiver;
    Callbacks& callbacks;
    Stream stream;
    Below below;
  };

  explicit FakeCluster(stats::Store& store)
      : statistics(store.root(0).scope("cluster.xds")),
        codes(store.root(0).scope("cluster.xds")),
        scope(store.root(0)) {}
  // ext::ClusterManager
  ext::Cluster* find(std::string_view name) override { return there && name == "xds" ? this : nullptr; }
  // ext::Cluster
  const std::string& name() const override { return name_; }
  const std::string& observability_name() const override { return name_; }
  void note_connect_attempts_exceeded() override {}
  Membership membership() const override { return {}; }
  std::unique_ptr<ext::Upstream> connect(const ext::Upstream::Origin&, ext::Upstream::Callbacks&) override {
    return nullptr;
  }
  ext::HttpCluster* http() override { return this; }
  // ext::HttpCluster
  std::shared_ptr<ext::HttpCluster> hold() override { return shared_from_this(); }
  ext::HttpClusterCodeStats& code_stats() override { return codes; }
  std::unique_ptr<ext::HttpTry> make_try(const ext::Upstream::Origin&, const ext::HttpRequestTraits&,
                                         http::StreamReceiver& receiver,
                                         ext::HttpTry::Callbacks& callbacks) override {
    return std::make_unique<Try>(*this, receiver, callbacks);
  }
  ext::HttpClusterStats& http_stats() override { return statistics; }
  stats::Scope stats_scope() override { return scope; }
  bool acquire_retry(ext::RoutingPriority) override { return true; }
  void release_retry(ext::RoutingPriority) override {}
  Duration max_stream_duration() const override { return {}; }
  Drop drops() override { return Drop::no; }
  ext::HttpCodeStats* zone_stats(std::string_view) override { return nullptr; }

  bool there = true;
  int starts = 0;
  Try* current = nullptr;
  ext::HttpClusterStats statistics;
  ext::HttpClusterCodeStats codes;
  stats::Scope scope;
  std::string name_ = "xds";
};

struct Rig {
  static model::ControlPlane plane() {
    model::ControlPlane config;
    config.services.emplace_back().cluster = "xds";
    return config;
  }
  explicit Rig(model::ControlPlane config = plane()) {
    client = std::make_unique<PlaneClient>(loop, *cluster, random, std::move(config), ads_method(false),
                                           options(), store.root(0));
    watch = client->mux().watch(ResourceType::cluster, {}, watcher);
    client->start();
    loop.run_once(Duration(0));
  }
  ~Rig() {
    watch.reset();
    client.reset();
  }
  FakeCluster::Try& call() {
    REQUIRE(cluster->current != nullptr);
    return *cluster->current;
  }
  void ready() { call().callbacks.on_ready(call().stream); }
  void answer(bool end = false, const char* status = "200") {
    auto h = http::make_headers();
    h->add(http::Name::status, status);
    h->add(std::string_view("content-type"), "application/grpc");
    call().receiver.on_headers(std::move(h), end);
  }
  void bytes(std::string_view text) {
    Buffer b;
    b.append(loop.blocks(), text);
    call().receiver.on_data(b, false);
  }
  static std::string framed(const std::string& message) {
    std::string out(5, '\0');
    for (size_t i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(message.size() >> (24 - 8 * i));
    return out + message;
  }
  static std::string response(const std::string& version) {
    discovery::DiscoveryResponse r;
    r.set_type_url(kClusters);
    r.set_version_info(version);
    r.set_nonce(version);
    *r.add_resources() = any_of(kClusters, cluster_bytes("a"));
    return r.SerializeAsString();
  }
  uint64_t stat(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return ~0ull;
  }
  // Time goes on until the client tries again; how long that took.
  Duration until_next_try() {
    const int before = cluster->starts;
    const MonotonicTime since = loop.now();
    REQUIRE(loop.run_until([&] { return cluster->starts > before; }));
    return loop.now() - since;
  }

  sim::SimNet net{1};
  sim::SimLoop loop{net};
  stats::Store store{1};
  Random random{1};
  FakeWatcher watcher;
  std::shared_ptr<FakeCluster> cluster = std::make_shared<FakeCluster>(store);
  std::unique_ptr<PlaneClient> client;
  std::unique_ptr<Watch> watch;
};

TEST_CASE("plane: the call's head, the first request, messages in any pieces") {
  Rig rig;
  rig.ready();
  auto& stream = rig.call().stream;
  CHECK(stream.headers->get(http::Name::method) == "POST");
  CHECK(stream.headers->get(http::Name::path) == ads_method(false));
  CHECK(stream.headers->get(http::Name::authority) == "xds");
  CHECK(stream.headers->get("content-type") == "application/grpc");
  CHECK(stream.headers->get("te") == "trailers");
  REQUIRE(stream.body.size() > 5);
  discovery::DiscoveryRequest request;
  REQUIRE(request.ParseFromString(stream.body.substr(5)));
  CHECK(request.type_url() == kClusters);
  CHECK(rig.stat("control_plane.connected_state") == 1);
  rig.answer();
  const std::string two = Rig::framed(Rig::response("v1")) + Rig::framed(Rig::response("v2"));
  for (char c : two) rig.bytes({&c, 1});
  CHECK(rig.watcher.updates == 2);
  CHECK(rig.watcher.version == "v2");
  rig.bytes(Rig::framed(Rig::response("v3")) + Rig::framed(Rig::response("v4")) + "\0\0");
  CHECK(rig.watcher.version == "v4");
}

// A push of the clusters, as a stream has it.
std::string push_of(const std::string& version, const Names& names) {
  discovery::DiscoveryResponse r;
  r.set_type_url(kClusters);
  r.set_version_info(version);
  r.set_nonce(version);
  for (const std::string& name : names) *r.add_resources() = any_of(kClusters, cluster_bytes(name));
  return Rig::framed(r.SerializeAsString());
}

TEST_CASE("plane: messages cut anywhere, in frames and in their chunks, say the same") {
  Rig rig;
  rig.ready();
  rig.answer();
  // The last name is larger than what is held back for the end of a resource.
  Names first, second;
  for (size_t i = 0; i < 12; ++i) first.push_back(std::to_string(i) + std::string(i * 7, 'x'));
  second = {"a", std::string(1500, 'y'), "b", std::string(2500, 'z')};
  const std::string both = push_of("v1", first) + push_of("v2", second);
  int updates = 0;
  std::vector<Names> seen;
  rig.watcher.during = [&] { seen.push_back(rig.watcher.names); };
  // `chunks`: of one frame; otherwise each is its own.
  auto comes = [&](std::initializer_list<std::string_view> parts, bool chunks) {
    seen.clear();
    Buffer frame;
    for (const std::string_view part : parts) {
      if (part.empty()) continue;
      Block* const block = rig.loop.blocks().get(static_cast<uint32_t>(part.size()));
      part.copy(reinterpret_cast<char*>(block->data), part.size());
      frame.append(Chunk(block, 0, static_cast<uint32_t>(part.size())));
      if (!chunks) rig.call().receiver.on_data(frame, false);
      CHECK((chunks || frame.empty()));
    }
    if (chunks) rig.call().receiver.on_data(frame, false);
    updates += 2;
    REQUIRE(rig.watcher.updates == updates);
    REQUIRE(seen == std::vector<Names>{first, second});
    REQUIRE(rig.watcher.version == "v2");
  };
  const std::string_view all = both;
  for (size_t cut = 0; cut <= all.size(); ++cut) {
    comes({all.substr(0, cut), all.substr(cut)}, false);
    comes({all.substr(0, cut), all.substr(cut)}, true);
  }
  Random random(3);
  for (int round = 0; round < 2000; ++round) {
    size_t cuts[3];
    for (size_t& cut : cuts) cut = random.below(all.size() + 1);
    std::ranges::sort(cuts);
    comes({all.substr(0, cuts[0]), all.substr(cuts[0], cuts[1] - cuts[0]),
           all.substr(cuts[1], cuts[2] - cuts[1]), all.substr(cuts[2])},
          round % 2 == 0);
  }
}

TEST_CASE("plane: a resource of many frames, before and behind small ones") {
  Rig rig;
  rig.ready();
  rig.answer();
  const Names names = {"a", std::string(300'000, 'b'), "c"};
  const std::string push = push_of("v1", names) + push_of("v2", {"d"});
  for (size_t at = 0; at < push.size(); at += 16384) {
    if (push.size() - at <= 16384) {
      CHECK(rig.watcher.updates == 0);
      rig.watcher.during = [&, first = true]() mutable {
        if (std::exchange(first, false)) CHECK(rig.watcher.names == names);
      };
    }
    rig.bytes(std::string_view(push).substr(at, 16384));
  }
  CHECK(rig.watcher.updates == 2);
  CHECK(rig.watcher.names == Names{"d"});
}

TEST_CASE("plane: what follows a broken message in its frame is not read") {
  Rig rig;
  rig.ready();
  rig.answer();
  rig.bytes(push_of("v1", {"a"}) + Rig::framed("\xff\xff\xff") + push_of("v2", {"b"}));
  CHECK(rig.cluster->current == nullptr);
  CHECK(rig.watcher.updates == 1);
  rig.until_next_try();
  rig.ready();
  rig.answer();
  const std::string push = push_of("v3", {"c"});
  rig.bytes(push.substr(0, 9));
  // The compressed flag of what comes behind, in the same frame as the rest.
  rig.bytes(push.substr(9) + "\x01" + push_of("v4", {"d"}).substr(1));
  CHECK(rig.cluster->current == nullptr);
  CHECK(rig.watcher.version == "v3");
  // Nothing of the last call is left for the next one.
  rig.until_next_try();
  rig.ready();
  rig.answer();
  rig.bytes(push.substr(0, 20));
  rig.call().receiver.on_reset(http::ResetReason::connection_termination, "");
  rig.until_next_try();
  rig.ready();
  rig.answer();
  rig.bytes(push_of("v5", {"e"}));
  CHECK(rig.watcher.version == "v5");
}

TEST_CASE("plane: the scheme is the connection's") {
  for (const bool tls : {false, true}) {
    Rig rig;
    auto& call = rig.call();
    call.below.tls = tls;
    call.callbacks.on_ready(call.stream);
    CHECK(call.stream.headers->get(http::Name::scheme) == (tls ? "https" : "http"));
  }
}

TEST_CASE(
    "plane: whatever ends the call, there is another one, later and later, and at once again after a "
    "message") {
  Rig rig;
  Duration longest{};
  for (int i = 0; i < 12; ++i) {
    rig.call().callbacks.on_failure(ext::Upstream::Failure::connect_failed, "refused");
    CHECK(rig.cluster->current == nullptr);
    longest = std::max(longest, rig.until_next_try());
  }
  CHECK(longest > std::chrono::seconds(2));
  CHECK(rig.watcher.disconnected == 12);
  rig.ready();
  rig.answer();
  rig.bytes(Rig::framed(Rig::response("v1")));
  rig.call().receiver.on_reset(http::ResetReason::connection_termination, "");
  CHECK(rig.stat("control_plane.connected_state") == 0);
  CHECK(rig.until_next_try() <= std::chrono::milliseconds(600));
  rig.ready();
  discovery::DiscoveryRequest request;
  REQUIRE(request.ParseFromString(rig.call().stream.body.substr(5)));
  CHECK(request.version_info() == "v1");
}

TEST_CASE("plane: garbage ends the call") {
  Rig rig;
  auto garbage = [&](std::string_view bytes) {
    rig.ready();
    rig.answer();
    rig.bytes(bytes);
    CHECK(rig.cluster->current == nullptr);
    rig.until_next_try();
  };
  garbage(Rig::framed("\xff\xff\xff"));
  garbage(std::string("\x01\0\0\0\1x", 6));  // compressed
  garbage("\xff\xff\xff\xff\xff");
  garbage(std::string("\0\xff\xff\xff\xff", 5));  // 4 GiB to come
  rig.ready();
  rig.answer(true);  // trailers only, without a status
  CHECK(rig.cluster->current == nullptr);
  rig.until_next_try();
  rig.ready();
  rig.answer(false, "503");
  CHECK(rig.cluster->current == nullptr);
  rig.until_next_try();
  rig.call().stream.version = http::Protocol::http11;
  rig.ready();
  CHECK(rig.cluster->current == nullptr);
  rig.until_next_try();
  CHECK(rig.watcher.updates == 0);
}

TEST_CASE("plane: a limit on messages, metadata, an authority of its own") {
  model::ControlPlane config = Rig::plane();
  config.services[0].max_receive_message_length = 100;
  config.services[0].authority = "control.example";
  config.services[0].initial_metadata = {{"x-token", "secret"}};
  Rig rig(config);
  rig.ready();
  CHECK(rig.call().stream.headers->get(http::Name::authority) == "control.example");
  CHECK(rig.call().stream.headers->get("x-token") == "secret");
  rig.answer();
  rig.bytes(std::string("\0\0\0\0\x65", 5));
  CHECK(rig.cluster->current == nullptr);
}

TEST_CASE("plane: the rate limit spreads requests over time") {
  model::ControlPlane config = Rig::plane();
  config.rate_limit = {1, 2.0};
  Rig rig(config);
  FakeWatcher other;
  auto second = rig.client->mux().watch(ResourceType::listener, {}, other);
  rig.ready();
  const size_t first = rig.call().stream.body.size();
  CHECK(first > 0);
  CHECK(rig.stat("control_plane.rate_limit_enforced") > 0);
  const MonotonicTime since = rig.loop.now();
  REQUIRE(rig.loop.run_until([&] { return rig.call().stream.body.size() > first; }));
  CHECK(rig.loop.now() - since >= std::chrono::milliseconds(400));
  CHECK(rig.stat("control_plane.pending_requests") == 0);
}

TEST_CASE("plane: stopped, it stays away; a cluster that is not there is asked for again") {
  Rig rig;
  rig.cluster->there = false;
  rig.call().callbacks.on_failure(ext::Upstream::Failure::connect_failed, "refused");
  CHECK(!rig.loop.run_until([&] { return rig.cluster->starts > 1; }, std::chrono::minutes(2)));
  rig.cluster->there = true;
  rig.until_next_try();
  rig.client->stop();
  CHECK(rig.cluster->current == nullptr);
  CHECK(!rig.loop.run_until([&] { return rig.cluster->starts > 2; }, std::chrono::minutes(5)));
}

}  // namespace
}  // namespace sluice::xds
