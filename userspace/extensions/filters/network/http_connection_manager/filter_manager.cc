#include "extensions/filters/network/http_connection_manager/filter_manager.h"

#include <utility>

#include "http/status.h"
#include "model/route_actions.h"

namespace sluice::extensions::http_connection_manager {

using ext::DataStatus;
using ext::HeadersStatus;
using ext::TrailersStatus;

// A filter's place in the chain, and its view of the stream.
class FilterManager::Entry final : public ext::HttpFilterContext {
 public:
  explicit Entry(FilterManager& m) : m_(m) {}

  ext::StreamInfo& stream_info() override { return m_.host_.stream_info(); }
  ext::Connection& connection() override { return m_.host_.network().connection(); }
  io::Loop& loop() override { return m_.host_.network().loop(); }
  Random& random() override { return m_.host_.network().random(); }
  ext::ClusterManager& clusters() override { return m_.host_.network().clusters(); }
  ext::Upstream::Origin origin() override { return m_.host_.origin(); }

  http::HeaderMap* request_headers() override { return m_.request_headers_.get(); }
  http::HeaderMap* request_trailers() override { return m_.request_trailers_.get(); }
  http::HeaderMap* response_headers() override { return m_.response_headers_.get(); }
  http::HeaderMap* response_trailers() override { return m_.response_trailers_.get(); }

  const model::RouteMatch* route() override { return m_.host_.route(); }
  void clear_route_cache() override { m_.host_.clear_route_cache(); }
  const ext::HttpRouteConfig* route_config() override;
  void each_route_config(const std::function<void(const ext::HttpRouteConfig&)>& f) override;

  void continue_request() override { m_.go_on<Way::request>(*this); }
  void continue_response() override { m_.go_on<Way::response>(*this); }
  void release_response(size_t bytes) override { m_.release_response(*this, bytes); }
  Buffer& buffered_request() override { return request.kept; }
  Buffer& buffered_response() override { return response.kept; }
  void add_request_data(Buffer&& data) override { request.kept.append(std::move(data)); }
  void add_response_data(Buffer&& data) override { response.kept.append(std::move(data)); }
  http::HeaderMap& add_request_trailers() override {
    request.added_trailers = true;
    m_.request_trailers_ = http::make_headers();
    stream_info().http->request_trailers = m_.request_trailers_.get();
    return *m_.request_trailers_;
  }
  http::HeaderMap& add_response_trailers() override {
    response.added_trailers = true;
    m_.response_trailers_ = http::make_headers();
    stream_info().http->response_trailers = m_.response_trailers_.get();
    return *m_.response_trailers_;
  }
  uint32_t buffer_limit() const override { return m_.buffer_limit_; }
  void set_buffer_limit(uint32_t bytes) override { m_.buffer_limit_ = bytes; }

  void send_local_reply(const ext::LocalReply& reply) override { m_.send_local_reply(reply); }
  bool restart(Buffer&& body) override {
    if (m_.over_ || m_.response_begun_ || !m_.request_ended_) return false;
    return m_.host_.restart(std::move(body));
  }
  void reset_stream(http::ResetReason reason, std::string_view details) override {
    if (!m_.over_) m_.host_.reset_stream(reason, details);
  }
  bool local_reply_sent() const override { return m_.local_reply_; }

  void respond_informational(http::HeaderMapPtr headers) override {
    m_.respond_informational(std::move(headers));
  }
  void respond(http::HeaderMapPtr headers, bool end) override { m_.respond(std::move(headers), end); }
  void respond_data(Buffer& data, bool end) override { m_.respond_data(data, end); }
  void respond_trailers(http::HeaderMapPtr trailers) override { m_.respond_trailers(std::move(trailers)); }
  void pause_request() override {
    if (!m_.over_) m_.host_.pause_request();
  }
  void resume_request() override {
    if (!m_.over_) m_.host_.resume_request();
  }
  bool downstream_above_high_watermark() const override { return m_.host_.above_write_watermark(); }
  bool access_logged() const override { return m_.host_.access_logged(); }
  bool health_check_failed() const override { return m_.host_.network().health_check_failed(); }

  FilterManager& m_;
  const ChainFilter* config = nullptr;
  std::unique_ptr<ext::HttpFilter> filter;
  size_t index = 0;
  Half request, response;
};

FilterManager::FilterManager(Host& host) : host_(host) {}
FilterManager::~FilterManager() = default;

const ext::HttpRouteConfig* FilterManager::Entry::route_config() {
  const model::RouteMatch* route = m_.host_.route();
  return route ? model::filter_config(*route, config->name) : nullptr;
}

void FilterManager::Entry::each_route_config(const std::function<void(const ext::HttpRouteConfig&)>& f) {
  if (const model::RouteMatch* route = m_.host_.route()) model::each_filter_config(*route, config->name, f);
}

void FilterManager::create(const std::vector<ChainFilter>& chain, const model::RouteMatch* route) {
  created_ = true;
  for (const ChainFilter& f : chain) {
    const std::optional<bool> by_route = route ? model::filter_disabled(*route, f.name) : std::nullopt;
    if (by_route.value_or(f.disabled)) continue;
    if (count_ == entries_.size()) entries_.push_back(std::make_unique<Entry>(*this));
    Entry& e = *entries_[count_];
    e.config = &f;
    e.index = count_++;
    e.filter = f.make();
    e.filter->init(e);
  }
}

FilterManager::Half& FilterManager::half(Way way, size_t position) {
  Entry& e = entry(way, position);
  return way == Way::request ? e.request : e.response;
}

// ---- passing on ----

template <FilterManager::Way way>
void FilterManager::pass_headers(size_t from, bool end) {
  const uint64_t epoch = epoch_;
  http::HeaderMap& headers = way == Way::request ? *request_headers_ : *response_headers_;
  size_t added_at = count_;  // the filter that made a body where there was none
  for (size_t i = from; i < count_; ++i) {
    Entry& e = entry(way, i);
    Half& h = half(way, i);
    h.calling = true;
    HeadersStatus status = way == Way::request ? e.filter->on_request_headers(headers, end)
                                               : e.filter->on_response_headers(headers, end);
    h.calling = false;
    if (epoch != epoch_) return;
    const bool goes_on = std::exchange(h.go_on, false);
    if (status == HeadersStatus::proceed || goes_on) {
      h.head_passed = true;
      if (end && !h.kept.empty()) {
        added_at = i;
        end = false;
      }
      continue;
    }
    h.flow = status == HeadersStatus::stop_all ? Flow::stopped_all : Flow::stopped;
    h.end = end;
    if (added_at < i) {
      Buffer body = std::move(half(way, added_at).kept);
      pass_data<way>(added_at + 1, body, true);
    }
    return;
  }
  if constexpr (way == Way::response) {
    head_sent_ = true;
    if (end) response_ended_ = true;
    host_.send_headers(headers, end);
    if (epoch != epoch_) return;
  }
  if (added_at < count_) {
    Buffer body = std::move(half(way, added_at).kept);
    pass_data<way>(added_at + 1, body, true);
  }
}

template <FilterManager::Way way>
void FilterManager::pass_data(size_t from, Buffer& data, bool end) {
  const uint64_t epoch = epoch_;
  size_t trailers_at = count_;  // the filter that made trailers where there were none
  bool trailers = false;
  for (size_t i = from; i < count_; ++i) {
    Entry& e = entry(way, i);
    Half& h = half(way, i);
    if (h.flow == Flow::stopped_all) {
      h.end |= end;
      h.trailers |= trailers && trailers_at < i;
      return keep<way>(h, data, true);
    }
    h.calling = true;
    DataStatus status =
        way == Way::request ? e.filter->on_request_data(data, end) : e.filter->on_response_data(data, end);
    h.calling = false;
    if (epoch != epoch_) return;
    if (end && std::exchange(h.added_trailers, false)) {
      trailers = true;
      trailers_at = i;
      end = false;
    }
    const bool goes_on = std::exchange(h.go_on, false);
    if (status == DataStatus::proceed) {
      if (h.flow == Flow::flowing && h.kept.empty()) {
        if (data.empty() && !end && !trailers) return;
        continue;
      }
      h.kept.append(std::move(data));
      h.end |= end;
      h.trailers |= trailers;
      return release<way>(i);
    }
    h.flow = Flow::stopped;
    h.end |= end;
    h.trailers |= trailers;
    if (status == DataStatus::stop_no_buffer)
      data.clear();
    else
      keep<way>(h, data, status == DataStatus::stop_and_watermark);
    if (epoch != epoch_) return;
    if (goes_on) release<way>(i);
    return;
  }
  if constexpr (way == Way::response) {
    if (end) response_ended_ = true;
    host_.send_data(std::move(data), end);
    if (epoch != epoch_) return;
  }
  data.clear();
  if (trailers) pass_trailers<way>(trailers_at + 1);
}

template <FilterManager::Way way>
void FilterManager::pass_trailers(size_t from) {
  const uint64_t epoch = epoch_;
  http::HeaderMap& map = way == Way::request ? *request_trailers_ : *response_trailers_;
  for (size_t i = from; i < count_; ++i) {
    Entry& e = entry(way, i);
    Half& h = half(way, i);
    if (h.flow == Flow::stopped_all) {
      h.trailers = h.end = true;
      return;
    }
    h.calling = true;
    TrailersStatus status =
        way == Way::request ? e.filter->on_request_trailers(map) : e.filter->on_response_trailers(map);
    h.calling = false;
    if (epoch != epoch_) return;
    const bool goes_on = std::exchange(h.go_on, false);
    if (status == TrailersStatus::proceed || goes_on) {
      if (h.flow == Flow::flowing && h.kept.empty()) continue;
      h.trailers = h.end = true;
      return release<way>(i);
    }
    h.flow = Flow::stopped;
    h.trailers = h.end = true;
    return;
  }
  if constexpr (way == Way::response) {
    response_ended_ = true;
    host_.send_trailers(map);
  }
}

template <FilterManager::Way way>
void FilterManager::release(size_t i) {
  const uint64_t epoch = epoch_;
  Half& h = half(way, i);
  if (h.done) return;
  h.flow = Flow::flowing;
  const bool end = h.end, trailers = h.trailers;
  h.done = end;
  if (!h.head_passed) {
    h.head_passed = true;
    const bool head_only = end && !trailers && h.kept.empty();
    pass_headers<way>(i + 1, head_only);
    if (epoch != epoch_ || head_only) return;
  }
  if (!h.kept.empty() || (end && !trailers)) {
    Buffer body = std::move(h.kept);
    unpause(h, way);
    pass_data<way>(i + 1, body, end && !trailers);
    if (epoch != epoch_) return;
  }
  if (trailers) pass_trailers<way>(i + 1);
}

template <FilterManager::Way way>
void FilterManager::go_on(Entry& e) {
  if (over_ || (way == Way::request && local_reply_)) return;
  const size_t i = way == Way::request ? e.index : count_ - 1 - e.index;
  Half& h = half(way, i);
  if (h.calling) {
    h.go_on = true;
    return;
  }
  host_.touch();
  if (h.flow == Flow::flowing) return;
  if (h.flow == Flow::stopped) return release<way>(i);

  // stopped_all: the filter has seen the head alone; the rest goes through it first.
  const uint64_t epoch = epoch_;
  const bool end = std::exchange(h.end, false), trailers = std::exchange(h.trailers, false);
  h.flow = Flow::flowing;
  h.head_passed = true;
  const bool head_only = end && !trailers && h.kept.empty();
  Buffer body = std::move(h.kept);
  unpause(h, way);
  pass_headers<way>(i + 1, head_only);
  if (epoch != epoch_ || head_only) return;
  if (!body.empty() || (end && !trailers)) {
    pass_data<way>(i, body, end && !trailers);
    if (epoch != epoch_) return;
  }
  if (trailers) pass_trailers<way>(i);
}

void FilterManager::release_response(Entry& e, size_t bytes) {
  const uint64_t epoch = epoch_;
  const size_t i = count_ - 1 - e.index;
  Half& h = half(Way::response, i);
  if (over_ || h.calling || h.flow != Flow::stopped) return;
  host_.touch();
  if (!std::exchange(h.head_passed, true)) {
    pass_headers<Way::response>(i + 1, false);
    if (epoch != epoch_) return;
  }
  Buffer part;
  h.kept.move_front_to(part, std::min(bytes, h.kept.size()));
  if (!part.empty()) pass_data<Way::response>(i + 1, part, false);
  if (epoch == epoch_ && h.kept.size() <= buffer_limit_ / 2) unpause(h, Way::response);
}

template <FilterManager::Way way>
void FilterManager::keep(Half& h, Buffer& data, bool watermark) {
  h.kept.append(std::move(data));
  if (buffer_limit_ == 0 || h.kept.size() <= buffer_limit_) return;
  if (watermark) {
    if (std::exchange(h.paused, true)) return;
    if (way == Way::request)
      host_.pause_request();
    else if (count_ > 0)
      entries_[count_ - 1]->filter->on_downstream_above_high_watermark();
    return;
  }
  if (way == Way::request) {
    host_.on_request_too_large();
    return send_local_reply(
        {.status = 413, .body = "Payload Too Large", .details = "request_payload_too_large"});
  }
  host_.on_response_too_large();
  if (head_sent_) return host_.reset_stream(http::ResetReason::local_reset, "response_payload_too_large");
  send_local_reply({.status = 500, .body = "Internal Server Error", .details = "response_payload_too_large"});
}

void FilterManager::unpause(Half& h, Way way) {
  if (!std::exchange(h.paused, false)) return;
  if (way == Way::request)
    host_.resume_request();
  else if (count_ > 0)
    entries_[count_ - 1]->filter->on_downstream_below_low_watermark();
}

// ---- from the host ----

void FilterManager::on_request_headers(bool end_stream) {
  request_started_ = true;
  request_ended_ |= end_stream;
  pass_headers<Way::request>(0, end_stream);
}

void FilterManager::on_request_data(Buffer& data, bool end_stream) {
  request_ended_ |= end_stream;
  if (stale() || !request_started_) return data.clear();
  pass_data<Way::request>(0, data, end_stream);
  data.clear();
}

void FilterManager::on_request_trailers(http::HeaderMapPtr trailers) {
  request_ended_ = true;
  if (stale() || !request_started_) return;
  request_trailers_ = std::move(trailers);
  host_.stream_info().http->request_trailers = request_trailers_.get();
  pass_trailers<Way::request>(0);
}

void FilterManager::on_downstream_above_watermark() {
  if (!over_ && count_ > 0) entries_[count_ - 1]->filter->on_downstream_above_high_watermark();
}

void FilterManager::on_downstream_below_watermark() {
  if (!over_ && count_ > 0) entries_[count_ - 1]->filter->on_downstream_below_low_watermark();
}

void FilterManager::send_local_reply(const ext::LocalReply& reply) {
  if (over_ || response_ended_) return;
  host_.stream_info().response_code_details = reply.details;
  if (head_sent_) return host_.reset_stream(http::ResetReason::local_reset, reply.details);
  ++epoch_;
  local_reply_ = true;
  std::string body;
  replaced_ = std::move(response_headers_);
  response_headers_ = host_.make_reply(reply, body);
  response_trailers_.reset();
  refresh_response_info();
  Buffer data;
  if (!body.empty()) data.append(host_.network().loop().blocks(), body);
  const bool has_body = !data.empty();
  const bool past_filters = std::exchange(response_begun_, true);
  const uint64_t epoch = epoch_;
  // Filters whose response side is busy with another response do not see this one.
  const size_t from = past_filters ? count_ : 0;
  pass_headers<Way::response>(from, !has_body);
  if (epoch == epoch_ && has_body) pass_data<Way::response>(from, data, true);
}

void FilterManager::end() {
  if (std::exchange(ended_, true)) return;
  stop();
  for (size_t i = 0; i < count_; ++i) entries_[i]->filter->on_end();
}

void FilterManager::recycle() {
  for (size_t i = 0; i < count_; ++i) {
    Entry& e = *entries_[i];
    e.filter.reset();
    e.config = nullptr;
    e.request = Half{};
    e.response = Half{};
  }
  count_ = 0;
  ++epoch_;
  created_ = over_ = ended_ = false;
  request_ended_ = request_started_ = false;
  response_begun_ = head_sent_ = response_ended_ = local_reply_ = false;
  request_headers_.reset();
  request_trailers_.reset();
  response_headers_.reset();
  response_trailers_.reset();
  replaced_.reset();
}

// ---- from the terminal filter ----

void FilterManager::refresh_response_info() {
  ext::HttpInfo& info = *host_.stream_info().http;
  info.response_headers = response_headers_.get();
  info.response_trailers = response_trailers_.get();
}

void FilterManager::respond_informational(http::HeaderMapPtr headers) {
  if (stale() || head_sent_) return;
  const uint64_t epoch = epoch_;
  for (size_t i = 0; i < count_; ++i) {
    entry(Way::response, i).filter->on_informational(*headers);
    if (epoch != epoch_) return;
  }
  host_.send_informational(*headers);
}

void FilterManager::respond(http::HeaderMapPtr headers, bool end_stream) {
  if (stale() || response_begun_) return;
  host_.touch();
  response_begun_ = true;
  response_headers_ = std::move(headers);
  refresh_response_info();
  // %RESPONSE_CODE% of headers that filters and routes add.
  host_.stream_info().http->response_code = http::status_of(*response_headers_);
  pass_headers<Way::response>(0, end_stream);
}

void FilterManager::respond_data(Buffer& data, bool end_stream) {
  if (stale() || !response_begun_) return data.clear();
  host_.touch();
  pass_data<Way::response>(0, data, end_stream);
  data.clear();
}

void FilterManager::respond_trailers(http::HeaderMapPtr trailers) {
  if (stale() || !response_begun_) return;
  host_.touch();
  response_trailers_ = std::move(trailers);
  refresh_response_info();
  pass_trailers<Way::response>(0);
}

}  // namespace sluice::extensions::http_connection_manager
