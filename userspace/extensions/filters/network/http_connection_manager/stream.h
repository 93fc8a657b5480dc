#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "extensions/filters/network/http_connection_manager/connection.h"
#include "extensions/filters/network/http_connection_manager/filter_manager.h"
#include "http/codec.h"
#include "model/route.h"
#include "sluice/ext/stream_info.h"
#include "sluice/ext/tracer.h"

namespace sluice::extensions::http_connection_manager {

// One request and its response. Reused: begin() to recycle() is one life.
class Stream final : public http::StreamReceiver, private FilterManager::Host {
 public:
  Stream() : filters_(*this) {}

  void begin(Connection& connection, http::Stream& codec);
  // Fires what is due and says when to look again; MonotonicTime::max(): never.
  MonotonicTime check_timers(MonotonicTime now);
  // on_end of the filters, statistics, the access log. Once, after it is over.
  void name_cluster();
  void send_continue();  // 100, for a request that expects it
  void finish();
  void recycle();
  bool over() const { return over_; }
  bool unanswered() const { return http_.response_code == 0; }
  Duration age() const { return info_.end - info_.start; }
  void restart_now();  // what a filter asked for with restart()

  // http::StreamReceiver
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override;
  void on_data(Buffer& data, bool end_stream) override;
  void on_trailers(http::HeaderMapPtr trailers) override;
  void on_bad_message(http::Stream&, uint16_t status, std::string_view details) override;
  void on_reset(http::ResetReason reason, std::string_view details) override;
  void on_above_write_high_watermark() override;
  void on_below_write_low_watermark() override;

  // The connection's lists.
  Stream* next = nullptr;
  Stream* previous = nullptr;

 private:
  // FilterManager::Host
  ext::StreamInfo& stream_info() override { return info_; }
  ext::NetworkFilterContext& network() override { return connection_->network(); }
  const model::RouteMatch* route() override;
  void clear_route_cache() override { route_known_ = false; }
  void send_informational(http::HeaderMap& headers) override;
  void send_headers(http::HeaderMap& headers, bool end_stream) override;
  void send_data(Buffer&& data, bool end_stream) override;
  void send_trailers(http::HeaderMap& trailers) override;
  http::HeaderMapPtr make_reply(const ext::LocalReply& reply, std::string& body) override;
  void pause_request() override;
  void resume_request() override;
  bool above_write_watermark() const override;
  void reset_stream(http::ResetReason reason, std::string_view details) override;
  bool restart(Buffer&& body) override;
  void on_request_too_large() override { stats().downstream_rq_too_large.add(); }
  void on_response_too_large() override { stats().rs_too_large.add(); }
  void touch() override { last_activity_ = connection_->loop().now(); }
  ext::Upstream::Origin origin() override;
  bool access_logged() const override { return !settings().access_logs.empty(); }

  const Settings& settings() const { return connection_->settings(); }
  Stats& stats() { return connection_->stats(); }
  MonotonicTime now() { return connection_->loop().now(); }

  bool refuse_head(http::HeaderMap& headers);  // answers what cannot be a request; true: done
  bool normalize(http::HeaderMap& headers);
  void find_route();
  void refresh_timeouts();
  // `first`: not sent back by a redirect.
  void start_chain(http::HeaderMap& headers, bool end_stream, bool first);
  const std::vector<ChainFilter>* pick_chain(const http::HeaderMap& headers, bool& upgrade_refused);
  void reply(uint16_t status, std::string_view body, std::string_view details);
  void note_bytes();
  template <typename Send>
  void sending(Send send);  // a call of the codec, whose bytes are this stream's
  void response_complete();
  void mark_over(bool premature);
  void take_routes(const http::HeaderMap* headers);
  void log(ext::AccessLogType type);

  // stream_tracing.cc: where the settings say that requests are traced
  void decide_tracing(http::HeaderMap& headers, bool first);
  void start_span(http::HeaderMap& headers);
  void refresh_tracing();
  void charge_tracing();
  void trace_response(http::HeaderMap& headers);
  void finish_span();

  Connection* connection_ = nullptr;
  http::Stream* codec_ = nullptr;  // null: gone
  FilterManager filters_;
  ext::StreamInfo info_;
  ext::HttpInfo http_;
  std::optional<model::RouteMatch> route_;
  // Null: there are none yet, or no scope. Without scopes the same for as long as the request lives.
  std::shared_ptr<const model::RouteConfig> routes_;
  // With scopes: what says which one it is may change, by an early mutation, a filter or a redirect.
  struct ScopeState {
    std::string key;
    bool known = false;  // `key` is the scope's; false: the request has none
    std::vector<std::shared_ptr<const model::RouteConfig>> left;  // what the request may still use routes of
  };
  std::unique_ptr<ScopeState> scope_;
  struct Restart {
    http::HeaderMapPtr headers;
    Buffer body;
  };
  std::unique_ptr<Restart> restart_;
  std::unique_ptr<ext::StreamTracing> tracing_;
  std::string_view
      propagated_;  // the route's name for the request, that the other side is told; "": it is not
  std::string reply_body_;
  uint64_t random_ = 0;
  http::Stream::Bytes bytes_;
  bool route_known_ = false, head_received_ = false, request_ended_ = false, response_ended_ = false;
  bool bad_message_ = false;  // what came was none; it was answered in the codec's stead
  bool over_ = false, finished_ = false, head_ = false, grpc_ = false, close_ = false, wants_close_ = false;
  bool upgrade_ = false, http2_upgrade_ = false, upgrade_counted_ = false, tls_redirect_ = false;
  uint32_t paused_ = 0;
  MonotonicTime last_activity_{}, next_flush_{};
  Duration idle_timeout_{}, max_duration_{};
};

}  // namespace sluice::extensions::http_connection_manager
