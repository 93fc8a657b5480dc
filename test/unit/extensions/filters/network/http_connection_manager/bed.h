#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "extensions/filters/network/http_connection_manager/settings.h"
#include "model/listener.h"
#include "proxy/worker.h"
#include "test/sim/seeds.h"

// A worker with one listener whose chain is a connection manager and, as its terminal filter, an origin that does what
// the path says; and clients that speak bytes. On a simulated kernel, so that time costs nothing.
namespace sluice::extensions::http_connection_manager {

inline const Address kAt = *Address::parse("10.0.0.1:8080");

// "/hello", "/echo" (body and trailers come back), "/wait" (never answers), "/later" (after 10 ms), "/big" (1 MB under
// back-pressure), "/cut" (half an answer, then a reset), "/ws" (an upgrade, then echo).
class Origin final : public ext::HttpFilter {
 public:
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(http::HeaderMap& headers, bool end) override {
    path_ = headers.get(http::Name::path);
    if (path_ == "/hello") {
      context_->send_local_reply({.status = 200, .body = "hello", .details = "direct_response"});
    } else if (path_ == "/echo" || path_ == "/ws") {
      respond(path_ == "/ws" ? "101" : "200", end);
    } else if (path_ == "/later") {
      timer_ = std::make_unique<io::Timer>(context_->loop().timers(), &later, this);
      timer_->arm(context_->loop().now() + std::chrono::milliseconds(10));
    } else if (path_ == "/big") {
      respond("200", false);
      pump();
    } else if (path_ == "/cut") {
      respond("200", false);
      send("half", false);
      context_->reset_stream(http::ResetReason::local_reset, "cut");
    } else if (path_ != "/wait") {
      context_->send_local_reply({.status = 404, .details = "route_not_found"});
    }
    return ext::HeadersStatus::stop;
  }
  ext::DataStatus on_request_data(Buffer& data, bool end) override {
    if (path_ == "/echo" || path_ == "/ws") context_->respond_data(data, end);
    return ext::DataStatus::stop_no_buffer;
  }
  ext::TrailersStatus on_request_trailers(http::HeaderMap& trailers) override {
    if (path_ == "/echo") context_->respond_trailers(http::copy_headers(trailers));
    return ext::TrailersStatus::stop;
  }
  void on_downstream_below_low_watermark() override { pump(); }
  void on_end() override {
    timer_.reset();
    over_ = true;
  }

 private:
  static void later(io::Timer& t) {
    t.owner<Origin>()->context_->send_local_reply(
        {.status = 200, .body = "later", .details = "direct_response"});
  }
  void respond(const char* status, bool end) {
    auto h = http::make_headers();
    h->set(http::Name::status, status);
    if (path_ == "/ws") {
      h->set_static(http::Name::upgrade, "websocket");
      h->set_static(http::Name::connection, "upgrade");
    }
    context_->stream_info().response_code_details = "via_upstream";
    context_->respond(std::move(h), end);
  }
  void send(std::string_view text, bool end) {
    Buffer b;
    b.append(context_->loop().blocks(), text);
    context_->respond_data(b, end);
  }
  void pump() {
    if (path_ != "/big") return;
    while (!over_ && sent_ < 1000000 && !context_->downstream_above_high_watermark()) {
      sent_ += 10000;
      most_unsent = std::max(most_unsent, context_->connection().unsent());
      send(std::string(10000, 'x'), sent_ == 1000000);
    }
  }

 public:
  static inline size_t most_unsent = 0;

 private:
  ext::HttpFilterContext* context_ = nullptr;
  std::string path_;
  std::unique_ptr<io::Timer> timer_;
  size_t sent_ = 0;
  bool over_ = false;
};

struct Record {
  uint16_t code;
  std::string details, flags, path;
  uint64_t received, sent;
};

struct Recorder final : ext::AccessLogger {
  void log(const ext::StreamInfo& info, ext::AccessLogType type) const override {
    if (type != ext::AccessLogType::downstream_end) return;
    const auto* h = info.http->request_headers;
    records.push_back({info.http->response_code, info.response_code_details, info.flags.to_short_string(),
                       h ? std::string(h->get(http::Name::path)) : "", info.bytes_received, info.bytes_sent});
  }
  mutable std::vector<Record> records;
};

struct NoClusters final : ext::ClusterManager {
  ext::Cluster* find(std::string_view) override { return nullptr; }
};

// Everything matches.
struct AnyRoute final : model::RouteSource {
  AnyRoute() {
    auto config = std::make_shared<model::RouteConfig>();
    auto host = std::make_unique<model::VirtualHost>();
    host->name = "all";
    host->domains = {"*"};
    model::Route route;
    route.name = "any";
    route.path.text = "/";
    host->routes.push_back(std::move(route));
    config->virtual_hosts.push_back(std::move(host));
    REQUIRE(config->index().ok());
    routes = config;
  }
  bool ready() const override { return true; }
  std::string what() const override { return "routes"; }
  uint64_t generation() const override { return 1; }
  std::shared_ptr<const model::RouteConfig> current() const override { return routes; }
  std::shared_ptr<const model::RouteConfig> routes;
};

class Bed {
 public:
  explicit Bed(sim::Sim& s, std::shared_ptr<Settings> settings = std::make_shared<Settings>())
      : sim(s), store(2), recorder(std::make_shared<Recorder>()) {
    settings->stat_prefix = "t";
    settings->ip_detection.push_back({});
    settings->routes = std::make_shared<AnyRoute>();
    settings->access_logs = {recorder};
    Upgrade websocket;
    websocket.type = "websocket";
    settings->upgrades.push_back(std::move(websocket));
    settings->filters.push_back(
        {"origin", [](const ext::HttpFilterScope&) { return [] { return std::make_unique<Origin>(); }; },
         true, false});
    auto chain = std::make_shared<model::FilterChain>();
    chain->name = std::make_shared<const std::string>("chain");
    chain->filters = {make_factory(settings)};
    auto l = std::make_shared<model::Listener>();
    l->name = std::make_shared<const std::string>("http");
    l->address = kAt;
    l->buffer_limit = 64 * 1024;
    l->default_filter_chain = chain;
    l->matcher = *model::FilterChainMatcher::build({}, {});
    worker = std::make_unique<proxy::Worker>(sim.loop, store,
                                             proxy::Worker::Options{.index = 0, .seed = sim.random.next()},
                                             [](proxy::Worker&) { return std::make_unique<NoClusters>(); });
    worker->put_listener(l);
    auto fd = sim.loop.open_socket(AF_INET, {});
    while (!fd.ok()) fd = sim.loop.open_socket(AF_INET, {});
    REQUIRE(sim.loop.bind(*fd, kAt).ok());
    REQUIRE(sim.loop.listen(*fd, 128).ok());
    worker->add_socket({*fd, kAt, l, nullptr});
  }
  ~Bed() {
    worker->close_connections(nullptr);
    worker->close_all_sockets();
    CHECK(sim.loop.run_until([&] { return worker->idle() && sim.loop.ops_in_flight() == 0; }));
    for (const auto& m : store.snapshot())
      if (m.name.ends_with("_active") || m.name.ends_with("_buffered")) {
        CAPTURE(m.name);
        CHECK(m.value == 0);
      }
    worker.reset();
    sim.loop.run_once(Duration(0));
  }

  sim::Peer& client() { return sim.world.client(kAt); }
  bool until(std::function<bool()> f, Duration limit = std::chrono::minutes(10)) {
    return sim.loop.run_until(f, limit);
  }
  uint64_t stat(std::string_view name) {
    for (const auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return ~0ull;
  }

  sim::Sim& sim;
  stats::Store store;
  std::shared_ptr<Recorder> recorder;
  std::unique_ptr<proxy::Worker> worker;
};

}  // namespace sluice::extensions::http_connection_manager
