#include "extensions/filters/http/grpc_stats/grpc_stats.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "http/grpc.h"
#include "model/route.h"
#include "sluice/ext/http_upstream.h"

namespace sluice::extensions::grpc_stats {
namespace {

using http::HeaderMap;
using http::Name;

class GrpcStats final : public ext::HttpFilter {
 public:
  explicit GrpcStats(const Settings& settings) : settings_(settings) {}
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(HeaderMap& headers, bool) override {
    grpc_request_ = http::is_grpc_content_type(headers.get(Name::content_type));
    if (grpc_request_) choose_scope(headers.get(Name::path));
    return ext::HeadersStatus::proceed;
  }

  ext::DataStatus on_request_data(Buffer& data, bool) override {
    if (grpc_request_) count(requests_, data, "request_message_count", &ext::HttpInfo::GrpcMessages::request);
    return ext::DataStatus::proceed;
  }

  ext::HeadersStatus on_response_headers(HeaderMap& headers, bool end_stream) override {
    grpc_response_ = http::is_grpc_response(headers, end_stream);
    charge_status(headers);
    if (end_stream) charge_time();
    return ext::HeadersStatus::proceed;
  }

  ext::DataStatus on_response_data(Buffer& data, bool) override {
    if (grpc_response_)
      count(responses_, data, "response_message_count", &ext::HttpInfo::GrpcMessages::response);
    return ext::DataStatus::proceed;
  }

  ext::TrailersStatus on_response_trailers(HeaderMap& trailers) override {
    charge_status(trailers);
    charge_time();
    return ext::TrailersStatus::proceed;
  }

 private:
  // Counters come into being with the first call that needs them: methods are the clients' to name.
  void choose_scope(std::string_view path) {
    const model::RouteMatch* route = context_->route();
    ext::Cluster* cluster = route && route->action() ? context_->clusters().find(route->cluster) : nullptr;
    ext::HttpCluster* http = cluster ? cluster->http() : nullptr;
    auto call = http::parse_grpc_path(path);
    if (!http || !call) return;
    cluster_ = http->hold();
    scope_.emplace(http->stats_scope().scope("grpc"));
    const bool by_method =
        settings_.all_methods ||
        std::any_of(settings_.methods.begin(), settings_.methods.end(),
                    [&](const auto& m) { return m.first == call->service && m.second == call->method; });
    if (!by_method) return;
    std::string service(call->service);
    if (settings_.replace_dots) std::replace(service.begin(), service.end(), '.', '_');
    prefix_ = service + "." + std::string(call->method) + ".";
  }

  stats::Counter counter(std::string_view name) { return scope_->counter(prefix_ + std::string(name)); }

  void count(MessageCounter& counter_of_side, const Buffer& data, std::string_view name,
             uint64_t ext::HttpInfo::GrpcMessages::* side) {
    uint64_t messages = counter_of_side.count(data);
    if (messages == 0) return;
    if (scope_) counter(name).add(messages);
    if (!settings_.emit_filter_state) return;
    auto& state = context_->stream_info().http->grpc_messages;
    if (!state) state = ext::HttpInfo::GrpcMessages{};
    (*state).*side += messages;
  }

  void charge_status(const HeaderMap& headers) {
    std::string_view text = headers.get(Name::grpc_status);
    if (!scope_ || !text.data()) return;
    counter(text).add();
    counter("total").add();
    counter(text == "0" ? "success" : "failure").add();
  }

  // From the last byte of the request to the last of the response.
  void charge_time() {
    const ext::HttpInfo& info = *context_->stream_info().http;
    if (!settings_.upstream_time || !scope_ || info.last_upstream_tx_byte == MonotonicTime{}) return;
    MonotonicTime end =
        info.last_upstream_rx_byte == MonotonicTime{} ? context_->loop().now() : info.last_upstream_rx_byte;
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(end - info.last_upstream_tx_byte).count();
    scope_->histogram(prefix_ + "upstream_rq_time", stats::Unit::milliseconds)
        .record(static_cast<uint64_t>(std::max<int64_t>(ms, 0)));
  }

  const Settings& settings_;
  ext::HttpFilterContext* context_ = nullptr;
  std::shared_ptr<ext::HttpCluster> cluster_;  // while it may be counted: its statistics go with it
  std::optional<stats::Scope> scope_;  // "cluster.<name>.grpc."; nothing: this call is not counted
  std::string prefix_;  // "<service>.<method>.", or "" for all that have no counters of their own
  MessageCounter requests_, responses_;
  bool grpc_request_ = false, grpc_response_ = false;
};

}  // namespace

uint64_t MessageCounter::count(const Buffer& data) {
  uint64_t begun = 0;
  for (size_t i = 0; i < data.chunks(); ++i) {
    std::string_view bytes = data.chunk(i).view();
    while (!bytes.empty()) {
      if (left_ > 0) {
        size_t n = std::min<size_t>(left_, bytes.size());
        left_ -= static_cast<uint32_t>(n);
        bytes.remove_prefix(n);
        continue;
      }
      auto byte = static_cast<unsigned char>(bytes[0]);
      bytes.remove_prefix(1);
      if (prefix_++ == 0) {
        length_ = 0;  // the flags; the length follows, big-endian
        continue;
      }
      length_ = length_ << 8 | byte;
      if (prefix_ < 5) continue;
      prefix_ = 0;
      left_ = length_;
      ++begun;
    }
  }
  return begun;
}

ext::HttpFilterFactory make_factory(Settings settings) {
  auto shared = std::make_shared<const Settings>(std::move(settings));
  return [shared](const ext::HttpFilterScope&) -> ext::HttpFilterMaker {
    return [shared] { return std::make_unique<GrpcStats>(*shared); };
  };
}

}  // namespace sluice::extensions::grpc_stats
