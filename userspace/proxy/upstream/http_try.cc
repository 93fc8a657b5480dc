#include "proxy/upstream/http_try.h"

#include <new>
#include <utility>

#include "proxy/upstream/http_connection.h"

namespace sluice::upstream {

using Failure = ext::Upstream::Failure;

// ---- memory: a free list of the thread ----

namespace {

struct FreeList {
  static constexpr size_t kKeep = 1024;
  struct Node {
    Node* next;
  };
  Node* head = nullptr;
  size_t count = 0;
  ~FreeList() {
    while (head) ::operator delete(std::exchange(head, head->next));
  }
};
thread_local FreeList free_tries;

}  // namespace

void* HttpTry::operator new(size_t size) {
  if (size != sizeof(HttpTry) || !free_tries.head) return ::operator new(size);
  --free_tries.count;
  return std::exchange(free_tries.head, free_tries.head->next);
}

void HttpTry::operator delete(void* p, size_t size) {
  if (size != sizeof(HttpTry) || free_tries.count >= FreeList::kKeep) return ::operator delete(p);
  auto* node = static_cast<FreeList::Node*>(p);
  node->next = free_tries.head;
  free_tries.head = node;
  ++free_tries.count;
}

// ---- life ----

HttpTry::HttpTry(HttpPool* pool, http::StreamReceiver& receiver, ext::HttpTry::Callbacks& callbacks,
                 Failure refused)
    : pool_(pool), receiver_(&receiver), callbacks_(&callbacks), refused_(refused) {
  if (!pool_) return;
  host_ = pool_->host();
  pool_->add_try();
}

HttpTry::~HttpTry() {
  switch (state_) {
    case State::idle:
    case State::done:
      break;
    case State::pending:
      pool_->cluster().stats().upstream_rq_cancelled.add();
      pool_->leave_pending(*this);
      break;
    case State::reserved:
      pool_->cluster().stats().upstream_rq_cancelled.add();
      unreserve()->stream_ended(false);
      pool_->end_request();
      break;
    case State::active:
      reset(http::ResetReason::local_reset);
      break;
  }
  if (pool_) pool_->drop_try();
}

void HttpTry::start() {
  assert(state_ == State::idle);
  if (!pool_) return fail(refused_, "");
  pool_->submit(*this);
}

void HttpTry::fail(Failure failure, std::string_view reason) {
  state_ = State::done;
  callbacks_->on_failure(failure, reason);
}

void HttpTry::reserve(HttpConnection& connection) {
  state_ = State::reserved;
  connection_ = &connection;
  connection.reserve(*this);
}

HttpConnection* HttpTry::unreserve() {
  HttpConnection* c = std::exchange(connection_, nullptr);
  c->unreserve();
  return c;
}

void HttpTry::begin(HttpConnection& connection) {
  state_ = State::active;
  connection_ = &connection;
  connect_started_ = connection.connect_started();
  connect_done_ = connection.connect_done();
  streams_before_ = connection.streams_total();
  received_before_ = connection.socket().bytes_received();
  protocol_ = connection.protocol();
  pool_->cluster().stats().upstream_rq_total.add();
  HostCounters::add(pool_->counters().rq_total);
  pool_->cluster().shared().outlier.transport(host_, pool_->cluster().slot(), ext::TryResult::success, false);
  stream_ = &connection.new_stream(*this);
  id_ = stream_->id();
  stream_->set_buffer_limit(pool_->cluster().config().buffer_limit);
  callbacks_->on_ready(*this);
}

ext::Connection& HttpTry::connection() {
  assert(connection_);
  return connection_->socket();
}
MonotonicTime HttpTry::connect_started() const {
  return connect_started_;
}
MonotonicTime HttpTry::connect_done() const {
  return connect_done_;
}

void HttpTry::report(ext::TryResult result) {
  if (!pool_) return;
  pool_->cluster().shared().outlier.transport(host_, pool_->cluster().slot(), result, false);
  HostCounters& c = pool_->counters();
  switch (result) {
    case ext::TryResult::success:
      HostCounters::add(c.rq_success);
      break;
    case ext::TryResult::timeout:
      HostCounters::add(c.rq_timeout);
      [[fallthrough]];
    case ext::TryResult::connect_failed:
    case ext::TryResult::reset:
      HostCounters::add(c.rq_error);
      break;
  }
}

void HttpTry::report_immediate_health_check_fail() {
  if (host_) pool_->cluster().shared().health.failed_by_response(host_);
}

void HttpTry::report_status(uint16_t status) {
  if (!pool_) return;
  pool_->cluster().shared().outlier.status(host_, pool_->cluster().slot(), status);
  HostCounters& c = pool_->counters();
  HostCounters::add(status >= 500 && status < 600 ? c.rq_error : c.rq_success);
}

// ---- the exchange ----

void HttpTry::leave() {
  state_ = State::done;
  stream_ = nullptr;
  pool_->end_request();
}

void HttpTry::over() {
  HttpConnection* c = connection_;
  leave();
  c->stream_ended(false);
}

void HttpTry::local_end() {
  local_ended_ = true;
  if (remote_ended_) over();
}

void HttpTry::remote_end() {
  remote_ended_ = true;
  while (paused_ > 0) --paused_, stream_->resume_reading();  // nothing more comes: the connection may go on
  bytes_ = stream_->bytes();
  if (local_ended_) over();
}

void HttpTry::send_headers(const http::HeaderMap& headers, bool end_stream) {
  if (!stream_) return;
  stream_->send_headers(headers, end_stream);
  if (end_stream) local_end();
}

void HttpTry::send_data(Buffer&& data, bool end_stream) {
  if (!stream_) return data.clear();
  stream_->send_data(std::move(data), end_stream);
  if (end_stream) local_end();
}

void HttpTry::send_trailers(const http::HeaderMap& trailers) {
  if (!stream_) return;
  stream_->send_trailers(trailers);
  local_end();
}

void HttpTry::reset(http::ResetReason reason) {
  if (!stream_) return;
  bytes_ = stream_->bytes();
  http::Stream* stream = stream_;
  HttpConnection* c = connection_;
  leave();
  if (c->http2()) pool_->pools().http_stats().upstream_rq_tx_reset.add();
  stream->reset(reason);
  c->stream_ended(!c->http2());
}

void HttpTry::pause_reading() {
  if (!stream_ || remote_ended_) return;
  ++paused_;
  stream_->pause_reading();
}
void HttpTry::resume_reading() {
  if (!stream_ || paused_ == 0) return;
  --paused_;
  stream_->resume_reading();
}
void HttpTry::set_buffer_limit(uint32_t bytes) {
  if (stream_) stream_->set_buffer_limit(bytes);
}
bool HttpTry::above_write_high_watermark() const {
  return stream_ && stream_->above_write_high_watermark();
}
const http::Stream::Bytes& HttpTry::bytes() const {
  return stream_ ? stream_->bytes() : bytes_;
}

void HttpTry::on_headers(http::HeaderMapPtr headers, bool end_stream) {
  if (end_stream) remote_end();
  receiver_->on_headers(std::move(headers), end_stream);
}

void HttpTry::on_data(Buffer& data, bool end_stream) {
  if (end_stream) remote_end();
  receiver_->on_data(data, end_stream);
}

void HttpTry::on_trailers(http::HeaderMapPtr trailers) {
  remote_end();
  receiver_->on_trailers(std::move(trailers));
}

void HttpTry::on_reset(http::ResetReason reason, std::string_view details) {
  HttpConnection* c = connection_;
  unseen_ = reason == http::ResetReason::connection_termination && c->ended_by_server() &&
            streams_before_ > 0 && c->socket().bytes_received() == received_before_;
  leave();
  // Envoy counts resets of streams that share a connection alone.
  if (c->http2()) {
    ext::HttpClusterStats& stats = pool_->pools().http_stats();
    if (reason == http::ResetReason::remote_reset) stats.upstream_rq_rx_reset.add();
    if (reason == http::ResetReason::protocol_error) stats.upstream_rq_tx_reset.add();
    if (reason == http::ResetReason::connection_termination)
      pool_->cluster().stats().upstream_rq_pending_failure_eject.add();
  }
  // What a GOAWAY refuses the server has not looked at (RFC 9113 section 6.8): as good as not sent.
  if (reason == http::ResetReason::remote_refused_stream && c->going_away())
    reason = http::ResetReason::local_refused_stream;
  c->stream_ended(!c->http2());
  receiver_->on_reset(reason, details);
}

void HttpTry::on_above_write_high_watermark() {
  receiver_->on_above_write_high_watermark();
}
void HttpTry::on_below_write_low_watermark() {
  receiver_->on_below_write_low_watermark();
}

}  // namespace sluice::upstream
