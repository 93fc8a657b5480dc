#include "proxy/upstream/tcp_try.h"

#include <utility>

namespace sluice::upstream {

TcpTry::TcpTry(WorkerCluster& cluster, const ext::Upstream::Origin& origin, http::StreamReceiver& receiver,
               ext::HttpTry::Callbacks& callbacks)
    : cluster_(cluster),
      receiver_(receiver),
      callbacks_(callbacks),
      upstream_(std::make_unique<UpstreamConnection>(cluster.shared_from_this(),
                                                     static_cast<ext::Upstream::Callbacks&>(*this))),
      started_(cluster.loop().now()) {
  upstream_->connect(origin);
  host_ = upstream_->host();
}

// What is queued still leaves where the far side has ended; a tunnel that is cut off is cut off there, too.
TcpTry::~TcpTry() {
  if (!upstream_ || !connected_ || !remote_ended_) return;
  ext::Connection& c = upstream_->connection();
  c.close(c.unsent() > 0 ? ext::CloseKind::flush : ext::CloseKind::no_flush);
}

// ---- from the router ----

void TcpTry::send_headers(const http::HeaderMap&, bool end_stream) {
  if (end_stream) send_data(Buffer(), true);
  http::HeaderMapPtr answer = http::make_headers();
  answer->set_static(http::Name::status, "200");
  receiver_.on_headers(std::move(answer), false);
}

void TcpTry::send_data(Buffer&& data, bool end_stream) {
  if (!upstream_ || !connected_) return data.clear();
  bytes_.wire_sent += data.size();
  upstream_->connection().write(std::move(data), end_stream);
}

void TcpTry::send_trailers(const http::HeaderMap&) {
  send_data(Buffer(), true);
}

void TcpTry::reset(http::ResetReason) {
  connected_ = false;
  upstream_.reset();
}

void TcpTry::pause_reading() {
  if (upstream_ && connected_) upstream_->connection().pause_reading();
}
void TcpTry::resume_reading() {
  if (upstream_ && connected_) upstream_->connection().resume_reading();
}
bool TcpTry::above_write_high_watermark() const {
  return upstream_ && connected_ && upstream_->connection().above_high_watermark();
}

// ---- from the connection; the router may let go of this in each ----

void TcpTry::on_connected(ext::Upstream&) {
  connected_ = true;
  done_ = cluster_.loop().now();
  callbacks_.on_ready(*this);
}

void TcpTry::on_connect_failed(ext::Upstream&, ext::Upstream::Failure failure, std::string_view reason) {
  callbacks_.on_failure(failure, reason);
}

void TcpTry::on_upstream_data(Buffer& data, bool end_stream) {
  bytes_.wire_received += data.size();
  remote_ended_ |= end_stream;
  Buffer all = std::move(data);  // the router takes everything; the connection would give again what is left
  receiver_.on_data(all, end_stream);
}

void TcpTry::on_closed(ext::Connection&, const ext::CloseEvent& event) {
  connected_ = false;
  if (remote_ended_) return;
  receiver_.on_reset(event.cause == ext::CloseCause::remote_reset ? http::ResetReason::remote_reset
                                                                  : http::ResetReason::connection_termination,
                     "");
}

}  // namespace sluice::upstream
