#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/random.h"
#include "core/stats.h"
#include "http/http2.h"

// Two codecs back to back in memory, or one against frames built by hand.
namespace sluice::http::test {

using Fields = std::vector<std::pair<std::string, std::string>>;

inline HeaderMapPtr headers(const Fields& fields) {
  HeaderMapPtr map = make_headers();
  for (const auto& [name, value] : fields) map->add(name, value);
  return map;
}

inline std::string to_text(const HeaderMap& map) {
  std::string s;
  for (const auto& f : map) s.append(f.name).append("=").append(f.value).append("|");
  return s;
}

inline Fields request_fields(std::string_view method = "GET", std::string_view path = "/") {
  return {{":method", std::string(method)},
          {":scheme", "http"},
          {":path", std::string(path)},
          {":authority", "a"}};
}

// What one end wrote; optionally with a socket's watermarks.
struct Wire final : Output {
  explicit Wire(BlockPool& pool) : pool(pool) {}
  void write(Buffer&& data) override {
    ++writes;
    total += data.size();
    sent.append(std::move(data));
    if (!above && limit > 0 && sent.size() > limit) {
      above = true;
      codec->on_above_write_high_watermark();
    }
  }
  BlockPool& blocks() override { return pool; }
  void pause_reading() override {}
  void resume_reading() override {}
  void receive_soon() override { soon = true; }

  // The peer's socket takes at most n bytes.
  Buffer take(size_t n) {
    Buffer b;
    sent.move_front_to(b, std::min(n, sent.size()));
    if (above && sent.size() <= limit / 2) {
      above = false;
      codec->on_below_write_low_watermark();
    }
    return b;
  }

  BlockPool& pool;
  Connection* codec = nullptr;
  Buffer sent;
  size_t limit = 0, total = 0;
  int writes = 0;
  bool above = false, soon = false;
};

struct Receiver final : StreamReceiver {
  void on_headers(HeaderMapPtr h, bool end_stream) override {
    head = std::move(h);
    end = end_stream;
    if (headers_hook) headers_hook(*this);
  }
  void on_informational(HeaderMapPtr h) override { informational.push_back(to_text(*h)); }
  void on_data(Buffer& data, bool end_stream) override {
    received += data.size();
    where = data.empty() ? nullptr : data.chunk(0).data();
    if (keep_body) body += data.to_string();
    end = end_stream;
    if (data_hook) data_hook(*this);
  }
  void on_trailers(HeaderMapPtr h) override {
    trailers = to_text(*h);
    end = true;
    if (trailers_hook) trailers_hook(*this);
  }
  void on_reset(ResetReason reason, std::string_view text) override {
    ++resets;
    reset = reason;
    details = text;
    if (reset_hook) reset_hook(*this);
  }
  void on_above_write_high_watermark() override {
    ++above;
    if (watermark_hook) watermark_hook(*this);
  }
  void on_below_write_low_watermark() override {
    ++below;
    if (watermark_hook) watermark_hook(*this);
  }

  Stream* stream = nullptr;
  HeaderMapPtr head;
  std::string body, trailers, details;
  std::vector<std::string> informational;
  std::optional<ResetReason> reset;
  uint64_t received = 0;
  const uint8_t* where = nullptr;  // the last data lay there
  int above = 0, below = 0, resets = 0;
  bool end = false, keep_body = true;
  std::function<void(Receiver&)> headers_hook, data_hook, trailers_hook, reset_hook, watermark_hook;
};

struct Server final : ServerCallbacks {
  explicit Server(BlockPool& pool, Http2Config c = {})
      : config(c),
        store(1),
        stats(store.root(0)),
        wire(pool),
        codec(make_http2_server(config, stats, wire, *this)) {
    wire.codec = codec.get();
  }
  StreamReceiver& on_new_stream(Stream& stream) override {
    Receiver& r = streams.emplace_back();
    r.stream = &stream;
    if (setup) setup(r);
    return r;
  }
  void on_goaway(bool graceful) override { goaway = graceful; }
  void on_ping_ack(uint64_t opaque) override { pong = opaque; }

  Http2Config config;
  stats::Store store;
  Http2Stats stats;
  Wire wire;
  std::deque<Receiver> streams;
  std::function<void(Receiver&)> setup;
  std::optional<bool> goaway;
  std::optional<uint64_t> pong;
  std::unique_ptr<ServerConnection> codec;
  std::optional<ProtocolError> error;
};

struct Client final : ClientCallbacks {
  explicit Client(BlockPool& pool, Http2Config c = {})
      : config(c),
        store(1),
        stats(store.root(0)),
        wire(pool),
        codec(make_http2_client(config, stats, wire, *this)) {
    wire.codec = codec.get();
  }
  void on_goaway(bool graceful) override { goaway = graceful; }
  void on_max_streams_changed(uint32_t n) override { max_streams = n; }
  void on_ping_ack(uint64_t opaque) override { pong = opaque; }

  Receiver& open() {
    Receiver& r = streams.emplace_back();
    r.stream = &codec->new_stream(r);
    return r;
  }
  Receiver& request(const Fields& fields, bool end_stream = true) {
    Receiver& r = open();
    r.stream->send_headers(*headers(fields), end_stream);
    return r;
  }
  Receiver& get(std::string_view path = "/") { return request(request_fields("GET", path)); }

  Http2Config config;
  stats::Store store;
  Http2Stats stats;
  Wire wire;
  std::deque<Receiver> streams;
  std::optional<bool> goaway;
  std::optional<uint32_t> max_streams;
  std::optional<uint64_t> pong;
  std::unique_ptr<ClientConnection> codec;
  std::optional<ProtocolError> error;
};

template <typename Side>
void receive(Side& side, Buffer data) {
  side.wire.soon = false;
  if (auto error = side.codec->receive(data); error && !side.error) side.error = std::move(error);
}

// Moves bytes both ways until nothing moves; in random pieces where there is a random source.
inline void pump(Client& client, Server& server, Random* random = nullptr) {
  auto size = [&](size_t all) { return random ? 1 + random->below(random->below(4) == 0 ? all : 40) : all; };
  auto step = [&](auto& from, auto& to) {
    if (from.wire.sent.empty()) return false;
    receive(to, from.wire.take(size(from.wire.sent.size())));
    return true;
  };
  bool moved = true;
  while (moved) {
    moved = step(client, server);
    moved |= step(server, client);
    if (client.wire.soon) receive(client, {}), moved = true;
    if (server.wire.soon) receive(server, {}), moved = true;
  }
}

inline Buffer bytes(BlockPool& pool, std::string_view text) {
  Buffer b;
  b.append(pool, text);
  return b;
}

// A body of one chunk per block of `block` bytes.
inline Buffer body(BlockPool& pool, size_t size, uint32_t block = BlockPool::kMedium) {
  Buffer b;
  while (size > 0) {
    uint32_t n = static_cast<uint32_t>(std::min<size_t>(size, block));
    Block* p = pool.get(block);
    std::fill_n(p->data, n, static_cast<uint8_t>('a' + b.chunks() % 26));
    b.append(Chunk(p, 0, n));
    size -= n;
  }
  return b;
}

}  // namespace sluice::http::test
