#include "proxy/health/tcp_probe.h"

#include <utility>

#include "core/log.h"

namespace sluice::health {

TcpProbe::TcpProbe(ProbeContext& context, const model::TcpHealthCheck& config, Target target, Owner& owner)
    : context_(context),
      config_(config),
      target_(std::move(target)),
      owner_(owner),
      search_(config.receive),
      failed_(&on_turn_end, this) {}

void TcpProbe::check() {
  asking_ = true;
  search_.restart();
  if (socket_) return send();
  auto made = context_.open(target_, std::nullopt, *this);
  if (!made.ok()) {
    SLUICE_LOG(upstream, debug, "cluster {}: health check of {}: {}", context_.cluster->name,
               target_.address.to_string(), made.error().message);
    return context_.loop.schedule(failed_);
  }
  socket_ = std::move(*made);
  socket_->connect(target_.address);
}

void TcpProbe::give_up() {
  asking_ = false;
  close();
}

void TcpProbe::send() {
  if (config_.send.empty()) return;
  Buffer out;
  out.append(context_.loop.blocks(), config_.send);
  socket_->write(std::move(out), false);
}

void TcpProbe::close() {
  if (!socket_) return;
  socket_->close(ext::CloseKind::no_flush);
  socket_.reset();
}

void TcpProbe::answer(Answer::Kind kind, bool keep) {
  asking_ = false;
  if (!keep) close();
  owner_.on_answer({.kind = kind});
}

void TcpProbe::on_turn_end(io::TurnEnd& hook) {
  auto& self = *hook.owner<TcpProbe>();
  if (self.asking_) self.answer(Answer::Kind::unreachable, false);
}

void TcpProbe::on_connected(net::Connection&) {
  // With nothing to wait for nothing is sent either, as in Envoy.
  if (config_.receive.empty()) return answer(Answer::Kind::well, false);
  send();
}

void TcpProbe::on_connect_failed(net::Connection&, int) {
  answer(Answer::Kind::unreachable, false);
}

void TcpProbe::on_data(net::Connection&, Buffer& data, bool end_stream) {
  if (asking_) search_.feed(data);
  data.clear();
  if (asking_ && search_.found()) {
    if (end_stream) return answer(Answer::Kind::well, false);
    return answer(Answer::Kind::well, context_.check.reuse_connection);
  }
  if (end_stream) answer(Answer::Kind::unreachable, false);
}

void TcpProbe::on_closed(ext::Connection&, const ext::CloseEvent&) {
  answer(Answer::Kind::unreachable, false);
}

}  // namespace sluice::health
