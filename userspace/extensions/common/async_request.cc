#include "extensions/common/async_request.h"

#include <utility>

#include "http/status.h"

namespace sluice::extensions {

using ext::ResponseFlag;
using http::Name;

AsyncRequest::AsyncRequest(io::Loop& loop, std::shared_ptr<ext::HttpCluster> cluster, Message&& message)
    : cluster_(std::move(cluster)),
      loop_(loop),
      message_(std::move(message)),
      timer_(loop.timers(), &on_timeout, this),
      started_(loop.now()) {}

void AsyncRequest::start(const ext::Upstream::Origin& origin, Duration timeout) {
  if (timeout.count() > 0) timer_.arm(loop_.now() + timeout);
  try_ = cluster_->make_try(origin, {.request = message_.headers.get()}, *this, *this);
  try_->start();
}

void AsyncRequest::on_ready(http::Stream& stream) {
  const bool body = !message_.body.empty(), trailers = message_.trailers != nullptr;
  stream.send_headers(*message_.headers, !body && !trailers);
  if (body) stream.send_data(std::move(message_.body), !trailers);
  if (trailers) stream.send_trailers(*message_.trailers);
}

void AsyncRequest::on_failure(ext::Upstream::Failure failure, std::string_view reason) {
  using Failure = ext::Upstream::Failure;
  fail(503,
       failure == Failure::no_healthy_host ? ResponseFlag::no_healthy_upstream
       : failure == Failure::overflow      ? ResponseFlag::upstream_overflow
                                           : ResponseFlag::upstream_connection_failure,
       reason);
}

void AsyncRequest::on_headers(http::HeaderMapPtr headers, bool end_stream) {
  status_ = http::status_of(*headers);
  try_->report_status(status_);
  charge(status_);
  if (end_stream) complete();
}

void AsyncRequest::on_data(Buffer& data, bool end_stream) {
  data.clear();
  if (end_stream) complete();
}

void AsyncRequest::on_trailers(http::HeaderMapPtr) {
  complete();
}

void AsyncRequest::on_reset(http::ResetReason, std::string_view) {
  fail(503, ResponseFlag::upstream_connection_termination, "");
}

void AsyncRequest::on_timeout(io::Timer& timer) {
  AsyncRequest& self = *timer.owner<AsyncRequest>();
  self.cluster_->http_stats().upstream_rq_timeout.add();
  self.fail(504, ResponseFlag::upstream_request_timeout, "");
}

void AsyncRequest::charge(uint16_t status) {
  cluster_->code_stats().all.charge(status);
  cluster_->code_stats().internal.charge(status);
}

template <typename Tell>
void AsyncRequest::end(Tell tell) {
  if (std::exchange(over_, true)) return;
  timer_.cancel();
  tell();
  try_.reset();
  loop_.defer_delete(std::unique_ptr<io::Deferred>(this));
}

void AsyncRequest::complete() {
  end([this] { on_complete(); });
}

void AsyncRequest::fail(uint16_t status, ResponseFlag flag, std::string_view reason) {
  end([&] { on_broken(status, flag, reason); });
}

void mark_internal(http::HeaderMap& request, std::string_view own_address) {
  request.set_static(Name::x_envoy_internal, "true");
  request.append(Name::x_forwarded_for, own_address);
}

}  // namespace sluice::extensions
