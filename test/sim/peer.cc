#include "test/sim/peer.h"

#include <algorithm>
#include <cassert>

namespace sluice::sim {

void Peer::write(std::string_view bytes) {
  assert(!finishing_);
  queue_ += bytes;
  push();
}

void Peer::finish() {
  finishing_ = true;
  push();
}

void Peer::close() {
  closing_ = true;
  finish();
}

void Peer::reset() {
  if (gone_) return;
  gone_ = true;
  queue_.clear();
  if (socket_->state == Socket::State::connected) {
    net_.reset(*socket_);
  } else {
    net_.close(*socket_);
  }
}

void Peer::resume_reading() {
  reading_ = true;
  pull();
}

void Peer::push() {
  if (gone_ || !connected) return;
  if (was_reset) {
    queue_.clear();
    return;
  }
  if (!queue_.empty()) queue_.erase(0, net_.write(*socket_, queue_.data(), queue_.size()));
  if (!queue_.empty() || !finishing_) return;
  if (closing_) {
    gone_ = true;
    net_.close(*socket_);
  } else {
    net_.finish(*socket_);
  }
}

void Peer::pull() {
  if (gone_ || !reading_) return;
  bool more = false;
  char block[4096];
  while (size_t n = socket_->readable_bytes() ? net_.read(*socket_, block, sizeof block) : 0) {
    received.append(block, n);
    more = true;
  }
  if (more && on_data) on_data(*this);
  if (gone_) return;
  if (socket_->end_received && !ended) {
    ended = true;
    if (on_end) on_end(*this);
  }
}

void Peer::changed(Socket& s) {
  if (gone_) return;
  if (s.state == Socket::State::failed) {
    error = net_.take_error(s);
    if (on_reset) on_reset(*this);
    return;
  }
  if (s.state != Socket::State::connected) return;
  if (!connected) {
    connected = true;
    if (on_connected) on_connected(*this);
  }
  pull();
  if (!gone_ && s.reset_received && !was_reset) {
    was_reset = true;
    if (on_reset) on_reset(*this);
  }
  push();
}

Peer& World::add(Socket& socket) {
  return *peers_.emplace_back(std::unique_ptr<Peer>(new Peer(net_, socket)));
}

Peer& World::client(const Address& to, const Address& via) {
  Socket& s = net_.create(this, to.family());
  Peer& p = add(s);
  net_.connect(s, to, via);
  return p;
}

void World::server(const Address& at, std::function<void(Peer&)> accepted) {
  Socket& s = net_.create(this, at.family());
  [[maybe_unused]] int r = net_.bind(s, at);
  assert(r == 0);
  r = net_.listen(s);
  assert(r == 0);
  servers_.push_back({&s, std::move(accepted)});
}

void World::stop_server(const Address& at) {
  for (Server& s : servers_)
    if (s.socket->local == at) net_.close(*s.socket);
  std::erase_if(servers_, [&](const Server& s) { return s.socket->local == at; });
}

void World::incoming(Socket& listener) {
  auto it =
      std::find_if(servers_.begin(), servers_.end(), [&](const Server& s) { return s.socket == &listener; });
  Socket* socket = net_.accept(listener);
  if (!socket || it == servers_.end()) return;
  Peer& p = add(*socket);
  p.connected = true;
  it->accepted(p);
  p.changed(*socket);
}

}  // namespace sluice::sim
