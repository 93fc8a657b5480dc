#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "extensions/common/tracing.h"
#include "extensions/filters/http/router/retry_state.h"
#include "extensions/filters/http/router/router.h"
#include "extensions/filters/http/router/timeouts.h"
#include "io/timers.h"
#include "model/route.h"

namespace sluice::extensions::router {

// Statistics of "http.<stat_prefix>." that the router counts.
struct Stats {
  explicit Stats(const stats::Scope& scope);
  stats::Counter no_route, no_cluster, rq_redirect, rq_direct_response, rq_total,
      rq_reset_after_downstream_response_started, rq_retry_skipped_request_not_complete,
      passthrough_internal_redirect_bad_location, passthrough_internal_redirect_unsafe_scheme,
      passthrough_internal_redirect_too_many_redirects, passthrough_internal_redirect_no_route,
      passthrough_internal_redirect_predicate;
};

// What the filters of one worker and filter chain share.
struct Shared {
  std::shared_ptr<const Config> config;
  Stats stats;
  stats::Scope root;
};

// One request. At most one try is under way; it may be followed by another one after a back-off.
//
//   on_request_headers → route, cluster → try: wait for a stream → send → response → downstream
//                                          ↑ back-off ← reset, time-out of the try, status to retry
class Router final : public ext::HttpFilter, private ext::HttpTry::Callbacks, private http::StreamReceiver {
 public:
  explicit Router(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  // ext::HttpFilter
  void init(ext::HttpFilterContext& context) override { context_ = &context; }
  ext::HeadersStatus on_request_headers(http::HeaderMap& headers, bool end_stream) override;
  ext::DataStatus on_request_data(Buffer& data, bool end_stream) override;
  ext::TrailersStatus on_request_trailers(http::HeaderMap& trailers) override;
  void on_downstream_above_high_watermark() override;
  void on_downstream_below_low_watermark() override;
  void on_end() override;

 private:
  // ---- the request: request.cc ----
  void answer_directly(const model::RouteMatch& match, http::HeaderMap& headers);
  bool check_headers(const http::HeaderMap& headers);  // false: refused
  bool find_cluster();
  void choose_mirrors();
  void request_complete();
  bool keep(const Buffer& data, bool end_stream);  // false: the request is over
  void give_up_keeping();
  void start_mirrors();
  // `marked`: a header of Envoy's that says "true".
  void local_reply(uint16_t status, std::string_view body, std::string_view details,
                   std::optional<http::Name> marked = {});
  ext::StreamInfo& info() { return context_->stream_info(); }
  ext::HttpInfo& http_info() { return *context_->stream_info().http; }
  MonotonicTime now() { return context_->loop().now(); }
  const Config& config() const { return *shared_->config; }
  TimeoutOptions timeout_options() const;

  // ---- one try: attempt.cc ----
  void start_try();
  void send_request();
  void count_try();
  void on_ready(http::Stream& stream) override;
  void on_failure(ext::Upstream::Failure failure, std::string_view reason) override;
  void no_healthy_upstream();
  void retry_later();
  void retry_now();
  bool can_replay() const;
  // Whether there is to be another try; why there is none goes into the record.
  bool allowed(RetryState::Verdict verdict);
  bool may_retry(http::ResetReason reason);  // behind a try that has ended so
  bool sends_again(http::ResetReason reason) const;
  const model::RouteAction::Upgrade* terminates_connect() const;
  Buffer proxy_header();
  // tracing.cc: where a request is traced
  void begin_try_span();
  void inject_trace();
  void end_try_span();
  // The try is over without a response, or in the middle of one.
  void upstream_reset(http::ResetReason reason, std::string_view transport_failure);
  void timed_out(std::string_view details, ext::TryResult result);
  // Lets go of the try; what it has of statistics goes into the record.
  void end_try();
  void cleanup();
  void resume_downstream();
  void arm(std::optional<io::Timer>& timer, io::Timer::Callback callback, Duration after);
  void arm_try_timers();
  static void on_global_timeout(io::Timer& timer);
  static void on_per_try_timeout(io::Timer& timer);
  static void on_per_try_idle_timeout(io::Timer& timer);
  static void on_max_duration(io::Timer& timer);
  static void on_backoff(io::Timer& timer);
  void try_timed_out(stats::Counter& counter, std::string_view details);

  // ---- the response: response.cc ----
  using ext::HttpFilter::on_informational;
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override;
  void on_informational(http::HeaderMapPtr headers) override;
  void on_data(Buffer& data, bool end_stream) override;
  void on_trailers(http::HeaderMapPtr trailers) override;
  void on_reset(http::ResetReason reason, std::string_view details) override;
  void on_above_write_high_watermark() override;
  void on_below_write_low_watermark() override;
  bool retries(const http::HeaderMap& headers, uint16_t status);
  bool redirects(const http::HeaderMap& headers, uint16_t status);
  bool new_target(const std::string& name);
  bool prepare_redirect(const http::HeaderMap& headers, uint16_t status);
  void response_complete();
  void report_host(uint16_t status, const http::HeaderMap& headers, bool end_stream);
  void charge(uint16_t status, const http::HeaderMap* headers, bool dropped);
  void charge_abort(uint16_t status, bool dropped);
  void charge_time();
  template <typename F>
  void each_code_stats(const http::HeaderMap* headers, F f);

  std::shared_ptr<Shared> shared_;
  ext::HttpFilterContext* context_ = nullptr;
  http::HeaderMap* request_ = nullptr;
  model::RouteMatch match_;
  const model::RouteAction* action_ = nullptr;
  std::shared_ptr<ext::HttpCluster> cluster_;
  std::unique_ptr<ext::HttpTry> try_;
  http::Stream* stream_ = nullptr;  // of the try, once there is one
  std::optional<RetryState> retry_;
  Timeouts timeouts_;

  Buffer waiting_;  // request bytes the try has not been given yet
  Buffer kept_;  // all of them, for another try, a mirror or a redirect
  uint32_t keep_limit_ = 0;
  uint32_t attempts_ = 0;
  uint8_t replays_ = 0;
  bool keeping_ = false;
  bool kept_overflowed_ = false;
  bool grpc_ = false;
  bool canary_ = false;
  bool body_passed_ = false;  // bytes are gone that nobody has kept
  bool request_ended_ = false;
  bool response_started_ = false, informational_charged_ = false;
  bool over_ = false;  // the response is complete, or an answer of our own took its place
  bool waiting_paused_ = false, upstream_paused_ = false;
  uint8_t downstream_above_ = 0;  // how many say that the response is more than they can take
  bool timeout_retry_ = false;
  bool sent_ = false;  // the head of this try
  bool report_grpc_late_ = false;  // whether the host did well is in the trailers
  bool internal_ = false;  // x-envoy-internal
  bool raw_ = false;  // the try is a TCP connection
  uint16_t timeout_status_ = 504;
  MonotonicTime request_complete_{}, last_activity_{};
  std::optional<io::Timer> global_timer_, try_timer_, idle_timer_, duration_timer_, backoff_timer_;

  // What few requests have.
  struct Rare {
    std::string virtual_cluster, alt_stat_name;
    std::vector<std::string> set_cookies;
    std::vector<std::pair<std::string, const model::MirrorPolicy*>> mirrors;  // by cluster
    http::HeaderMapPtr mirror_headers;
    std::optional<uint64_t> hash;
  };
  Rare& rare() {
    if (!rare_) rare_ = std::make_unique<Rare>();
    return *rare_;
  }
  std::unique_ptr<Rare> rare_;

  struct TrySpan {
    std::unique_ptr<ext::Span> span;
    TryOutcome outcome;
  };
  std::unique_ptr<TrySpan> try_span_;  // null: tries have no spans
};

}  // namespace sluice::extensions::router
