#pragma once

#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/codec.h"
#include "io/loop.h"
#include "model/route.h"
#include "sluice/ext/http_filter.h"
#include "sluice/ext/http_upstream.h"

// What an HTTP filter's test needs around the filter: a stream that nobody else is on, and a clock that stands still.
//
//   FakeStream s(make_factory(...));
//   CHECK(s.request({{":path", "/"}}) == ext::HeadersStatus::stop);
//   CHECK(s.replies.at(0).status == 429);
namespace sluice::test {

// No socket works on it; time goes on by advance() alone, which runs the timers that are due.
class FakeLoop final : public io::Loop {
 public:
  FakeLoop() { now_ = MonotonicTime{std::chrono::seconds(1000)}; }
  void advance(Duration d) {
    now_ += d;
    timers_.run(now_);
  }
  void accept(io::Op&, int) override { std::abort(); }
  void connect(io::Op&, int, const Address&) override { std::abort(); }
  void recv(io::Op&, int, io::RecvOptions) override { std::abort(); }
  void send(io::Op&, int, std::span<const iovec>, int) override { std::abort(); }
  void poll(io::Op&, int, uint32_t) override { std::abort(); }
  void cancel(io::Op&) override { std::abort(); }
  Result<int> open_socket(int, const io::SocketOptions&, int) override { return Error{"no sockets here"}; }
  Status bind(int, const Address&) override { return Error{"no sockets here"}; }
  Status listen(int, int) override { return Error{"no sockets here"}; }
  void ignore_handshakes(int) override {}
  Address local_address(int) override { return {}; }
  Address peer_address(int) override { return {}; }
  Status set_options(int, const io::SocketOptions&) override { return Error{"no sockets here"}; }
  void shutdown_write(int) override {}
  void close(int) override {}
  void close_reset(int) override {}
  WallTime wall_now() override { return WallTime{now_.time_since_epoch()}; }
  void run_once(Duration) override { std::abort(); }
  std::string_view backend_name() const override { return "fake"; }

 protected:
  void wake() override {}
  void read_clock() override {}
};

// Clusters by name, whose statistics are real; nobody can be connected to, and what a try is the test says.
class FakeCluster final : public ext::Cluster, public ext::HttpCluster {
 public:
  FakeCluster(std::string name, const stats::Scope& root)
      : name_(std::move(name)), scope_(root.scope("cluster").scope(name_)) {}
  const std::string& name() const override { return name_; }
  const std::string& observability_name() const override { return name_; }
  void note_connect_attempts_exceeded() override {}
  std::unique_ptr<ext::Upstream> connect(const ext::Upstream::Origin&, ext::Upstream::Callbacks&) override {
    std::abort();
  }
  ext::HttpCluster* http() override { return this; }
  Membership membership() const override { return members; }
  std::shared_ptr<ext::HttpCluster> hold() override { return {std::shared_ptr<void>(), this}; }
  ext::HttpClusterCodeStats& code_stats() override { return codes_; }
  Duration max_stream_duration() const override { return {}; }
  std::unique_ptr<ext::HttpTry> make_try(const ext::Upstream::Origin&, const ext::HttpRequestTraits&,
                                         http::StreamReceiver& receiver,
                                         ext::HttpTry::Callbacks& callbacks) override {
    return tries ? tries(receiver, callbacks) : nullptr;
  }
  ext::HttpClusterStats& http_stats() override { return stats_; }
  stats::Scope stats_scope() override { return scope_; }
  bool acquire_retry(ext::RoutingPriority) override { return true; }
  void release_retry(ext::RoutingPriority) override {}
  Drop drops() override { return Drop::no; }
  ext::HttpCodeStats* zone_stats(std::string_view) override { return nullptr; }
  Membership members;

  std::function<std::unique_ptr<ext::HttpTry>(http::StreamReceiver&, ext::HttpTry::Callbacks&)> tries;

 private:
  std::string name_;
  stats::Scope scope_;
  ext::HttpClusterCodeStats codes_{scope_};
  ext::HttpClusterStats stats_{scope_};
};

class FakeClusters final : public ext::ClusterManager {
 public:
  explicit FakeClusters(stats::Scope root) : root_(std::move(root)) {}
  FakeCluster& add(const std::string& name) { return clusters_.emplace_back(name, root_); }
  ext::Cluster* find(std::string_view name) override {
    for (auto& c : clusters_)
      if (c.name() == name) return &c;
    return nullptr;
  }

 private:
  stats::Scope root_;
  std::deque<FakeCluster> clusters_;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

inline void fill(http::HeaderMap& map, const Headers& headers) {
  map.clear();
  for (auto& [name, value] : headers) map.add(std::string_view(name), value);
}

inline model::StringMatcher exactly(std::string text) {
  model::StringMatcher m;
  m.text = std::move(text);
  return m;
}

inline Headers list(const http::HeaderMap& map) {
  Headers out;
  for (auto& f : map) out.emplace_back(f.name, f.value);
  return out;
}

// What all streams of one filter share: the worker.
struct FakeWorker {
  explicit FakeWorker(const ext::HttpFilterFactory& factory)
      : make(factory({.root = store.root(0), .stat_prefix = "http.test."})) {}
  // ~0: there is no such counter or gauge.
  uint64_t stat(std::string_view name) const {
    for (auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return ~0ull;
  }
  stats::Store store{1};
  FakeLoop loop;
  Random random{1};
  FakeClusters clusters{store.root(0)};
  ext::HttpFilterMaker make;
};

// One stream with one filter. Calls the filter as the connection manager does and notes what it asks for.
class FakeStream final : public ext::HttpFilterContext {
 public:
  struct Reply {
    uint16_t status;
    std::string body, details;
    std::optional<uint32_t> grpc_status;
    Headers headers;  // after `modify` and after the filter's response side
  };

  explicit FakeStream(FakeWorker& worker) : worker_(worker), filter(worker.make()) {
    info.http = &http_info;
    http_info.request_headers = &request_headers_map;
    http_info.response_headers = &response_headers_map;
    route_match.route = &route_entry;
    route_match.virtual_host = &virtual_host;
    route_match.config = &routes;
    route_entry.action = model::RouteAction{};
    route_match.cluster = "up";
    filter->init(*this);
  }
  FakeStream(const FakeStream&) = delete;
  ~FakeStream() { end(); }

  ext::HeadersStatus request(const Headers& headers, bool end_stream = true) {
    fill(request_headers_map, headers);
    return filter->on_request_headers(request_headers_map, end_stream);
  }
  ext::DataStatus request_data(std::string_view bytes, bool end_stream) {
    Buffer b;
    b.append(worker_.loop.blocks(), bytes);
    return filter->on_request_data(b, end_stream);
  }
  ext::HeadersStatus response(const Headers& headers, bool end_stream = true) {
    fill(response_headers_map, headers);
    return filter->on_response_headers(response_headers_map, end_stream);
  }
  ext::DataStatus response_data(std::string_view bytes, bool end_stream) {
    Buffer b;
    b.append(worker_.loop.blocks(), bytes);
    const ext::DataStatus status = filter->on_response_data(b, end_stream);
    if (status == ext::DataStatus::stop_and_buffer || status == ext::DataStatus::stop_and_watermark)
      kept_.append(std::move(b));
    return status;
  }
  void end() {
    if (!std::exchange(ended_, true)) filter->on_end();
  }

  ext::StreamInfo& stream_info() override { return info; }
  ext::Connection& connection() override { std::abort(); }
  io::Loop& loop() override { return worker_.loop; }
  Random& random() override { return worker_.random; }
  ext::ClusterManager& clusters() override { return worker_.clusters; }
  ext::Upstream::Origin origin() override {
    ext::Upstream::Origin o;
    o.stream = &info;
    return o;
  }
  http::HeaderMap* request_headers() override { return &request_headers_map; }
  http::HeaderMap* request_trailers() override { return nullptr; }
  http::HeaderMap* response_headers() override { return &response_headers_map; }
  http::HeaderMap* response_trailers() override { return nullptr; }
  const model::RouteMatch* route() override { return has_route ? &route_match : nullptr; }
  void clear_route_cache() override {}
  const ext::HttpRouteConfig* route_config() override {
    return route_configs.empty() ? nullptr : route_configs.back().get();
  }
  void each_route_config(const std::function<void(const ext::HttpRouteConfig&)>& f) override {
    for (auto& c : route_configs) f(*c);
  }
  void continue_request() override { ++continued_requests; }
  void continue_response() override {
    ++continued_responses;
    release_response(kept_.size());
  }
  void release_response(size_t bytes) override {
    Buffer part;
    kept_.move_front_to(part, bytes);
    released += part.size();
  }
  Buffer& buffered_request() override { return kept_; }
  Buffer& buffered_response() override { return kept_; }
  void add_request_data(Buffer&&) override {}
  void add_response_data(Buffer&&) override {}
  http::HeaderMap& add_request_trailers() override { std::abort(); }
  http::HeaderMap& add_response_trailers() override { std::abort(); }
  uint32_t buffer_limit() const override { return limit; }
  void set_buffer_limit(uint32_t bytes) override { limit = bytes; }
  void send_local_reply(const ext::LocalReply& r) override {
    response_headers_map.clear();
    response_headers_map.set_integer(http::Name::status, r.status);
    if (r.modify) r.modify(response_headers_map);
    info.response_code_details = r.details;
    filter->on_response_headers(response_headers_map, r.body.empty());
    replies.push_back(
        {r.status, std::string(r.body), std::string(r.details), r.grpc_status, list(response_headers_map)});
  }
  bool restart(Buffer&&) override { return false; }
  void reset_stream(http::ResetReason, std::string_view) override { std::abort(); }
  bool local_reply_sent() const override { return !replies.empty(); }
  void respond_informational(http::HeaderMapPtr) override { std::abort(); }
  void respond(http::HeaderMapPtr headers, bool end_stream) override {
    responded = list(*headers);
    response_ended |= end_stream;
  }
  void respond_data(Buffer& data, bool end_stream) override {
    responded_body += data.to_string();
    data.clear();
    response_ended |= end_stream;
  }
  void respond_trailers(http::HeaderMapPtr) override { response_ended = true; }
  void pause_request() override { ++request_paused; }
  void resume_request() override { --request_paused; }
  bool downstream_above_high_watermark() const override { return false; }
  bool access_logged() const override { return false; }
  bool health_check_failed() const override { return failed; }

 private:
  FakeWorker& worker_;
  Buffer kept_;
  bool ended_ = false;

 public:
  http::HeaderMap request_headers_map, response_headers_map;
  ext::HttpInfo http_info;
  ext::StreamInfo info;
  model::RouteConfig routes;
  model::VirtualHost virtual_host;
  model::Route route_entry;
  model::RouteMatch route_match;
  std::vector<ext::HttpRouteConfigPtr> route_configs;  // the least specific first
  std::vector<Reply> replies;
  uint32_t limit = 0;
  int continued_requests = 0, continued_responses = 0, request_paused = 0;
  Headers responded;  // by a terminal filter
  std::string responded_body;
  bool response_ended = false;
  size_t released = 0;  // bytes of the response that were stopped
  bool has_route = true, failed = false;
  std::unique_ptr<ext::HttpFilter> filter;
};

}  // namespace sluice::test
