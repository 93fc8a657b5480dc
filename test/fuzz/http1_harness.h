#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "http/http1.h"

// Both ends of an HTTP/1 connection for fuzzing: no test framework, a broken promise aborts.
namespace sluice::http::fuzz {

#define FUZZ_CHECK(condition)                                                             \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (0)

struct Wire final : Output {
  BlockPool pool;
  std::string sent;
  int paused = 0;
  bool soon = false;
  void write(Buffer&& data) override {
    sent += data.to_string();
    data.clear();
  }
  BlockPool& blocks() override { return pool; }
  void pause_reading() override { ++paused; }
  void resume_reading() override { FUZZ_CHECK(paused-- > 0); }
  void receive_soon() override { soon = true; }
};

inline std::string describe(const HeaderMap& headers) {
  std::string s;
  for (const HeaderMap::Field& f : headers) s.append(f.name).append("=").append(f.value).append("\n");
  return s;
}

// A message as it was taken.
struct Taken final : StreamReceiver {
  HeaderMapPtr headers, trailers;
  std::string body, informational;
  std::string failure;  // on_bad_message or on_reset
  bool ended = false, over = false;
  Stream* stream = nullptr;
  uint16_t bad_status = 0;

  void on_headers(HeaderMapPtr h, bool end_stream) override {
    FUZZ_CHECK(!headers && !over);
    headers = std::move(h);
    ended = end_stream;
  }
  void on_informational(HeaderMapPtr h) override {
    FUZZ_CHECK(!headers && !over);
    informational += describe(*h);
  }
  void on_data(Buffer& data, bool end_stream) override {
    FUZZ_CHECK(headers && !ended && !over);
    body += data.to_string();
    data.clear();
    ended = end_stream;
  }
  void on_trailers(HeaderMapPtr h) override {
    FUZZ_CHECK(headers && !ended && !over);
    trailers = std::move(h);
    ended = true;
  }
  void on_bad_message(Stream&, uint16_t status, std::string_view details) override {
    FUZZ_CHECK(!ended && !over && bad_status == 0);
    bad_status = status;
    failure = std::to_string(status) + " " + std::string(details);
  }
  void on_reset(ResetReason reason, std::string_view details) override {
    FUZZ_CHECK(!over);
    over = true;
    failure += "reset " + std::string(to_string(reason)) + " " + std::string(details);
  }
  std::string text() const {
    return informational + "--\n" + (headers ? describe(*headers) : "none\n") + "--\n" + body + "\n--\n" +
           (trailers ? describe(*trailers) : "") + (ended ? "ended\n" : "open\n") + failure + "\n";
  }
};

inline Buffer buffer_of(BlockPool& pool, std::string_view s) {
  Buffer b;
  b.append(pool, s);
  return b;
}

// Calls `give` with parts of `bytes`; seed 0: one part.
template <typename Give>
void in_parts(std::string_view bytes, uint64_t seed, Give give) {
  if (seed == 0) return give(bytes);
  Random random(seed);
  while (!bytes.empty()) {
    size_t n = std::min<size_t>(bytes.size(), 1 + random.below(seed % 3 == 0 ? 2 : 40));
    give(bytes.substr(0, n));
    bytes.remove_prefix(n);
  }
}

template <typename Connection>
std::string feed(Connection& connection, Wire& wire, std::string_view part) {
  Buffer b = buffer_of(wire.pool, part);
  std::string error;
  do {
    wire.soon = false;
    if (auto e = connection.receive(b)) error = std::string(e->details) + e->message;
    FUZZ_CHECK(b.empty());
  } while (wire.soon);
  return error;
}

struct Setting {
  Http1Config config;
  stats::Store store{1};
  Http1Stats stats{store.root(0)};
};

// Answers every message with a short response, at its end or (odd) at its head.
struct ServerSide final : ServerCallbacks {
  Setting& setting;
  Wire wire;
  std::vector<std::unique_ptr<Taken>> streams;
  std::unique_ptr<ServerConnection> connection;
  std::string error;
  bool switch_protocols = false;

  explicit ServerSide(Setting& s)
      : setting(s), connection(make_http1_server(s.config, s.stats, wire, *this)) {}
  ~ServerSide() {
    connection->connection_lost(ResetReason::connection_termination, "");
    FUZZ_CHECK(connection->active_streams() == 0 && connection->finished() && wire.paused == 0);
    connection.reset();
    FUZZ_CHECK(wire.pool.outstanding() == 0);
  }
  StreamReceiver& on_new_stream(Stream& stream) override {
    streams.push_back(std::make_unique<Taken>());
    streams.back()->stream = &stream;
    return *streams.back();
  }
  // Answers what can be answered now, as an application would do outside of the callbacks.
  void answer() {
    while (!streams.empty()) {
      Taken& t = *streams.back();
      if (t.over || !t.stream) return;
      bool upgrade =
          t.headers && (t.headers->has(Name::upgrade) || t.headers->get(Name::method) == "CONNECT");
      if (t.bad_status == 0 && !t.ended && !upgrade) return;
      HeaderMapPtr h = make_headers();
      Stream& s = *std::exchange(t.stream, nullptr);
      if (t.bad_status) {
        h->set_integer(Name::status, t.bad_status);
        s.send_headers(*h, true);
      } else if (upgrade && switch_protocols) {
        h->add(Name::status, t.headers->get(Name::method) == "CONNECT" ? "200" : "101");
        s.send_headers(*h, false);
      } else {
        h->add(Name::status, "200");
        s.send_headers(*h, false);
        s.send_data(buffer_of(wire.pool, "ok"), true);
      }
      go_on();
    }
  }
  void go_on() {
    while (std::exchange(wire.soon, false)) error += fuzz::feed(*connection, wire, "");
  }
  void give(std::string_view part) {
    error += fuzz::feed(*connection, wire, part);
    answer();
  }
  std::string text() const {
    std::string s = wire.sent + "\n==\n";
    for (auto& t : streams) s += t->text() + "==\n";
    return s + error + (connection->finished() ? "finished" : "open");
  }
};

struct ClientSide final : ClientCallbacks {
  Setting& setting;
  Wire wire;
  Taken taken;
  std::unique_ptr<ClientConnection> connection;
  Stream* stream = nullptr;
  std::string error;

  explicit ClientSide(Setting& s)
      : setting(s), connection(make_http1_client(s.config, s.stats, wire, *this)) {}
  ~ClientSide() {
    connection->connection_lost(ResetReason::connection_termination, "");
    FUZZ_CHECK(connection->active_streams() == 0 && connection->finished() && wire.paused == 0);
    connection.reset();
    FUZZ_CHECK(wire.pool.outstanding() == 0);
  }
  void on_goaway(bool) override {}
  void give(std::string_view part) { error += fuzz::feed(*connection, wire, part); }
  std::string text() const {
    return taken.text() + error + (connection->finished() ? "finished" : "open") +
           std::to_string(connection->active_streams());
  }
};

// Sends a whole message on `stream`.
inline void forward(BlockPool& pool, Stream& stream, const Taken& m) {
  bool alone = m.body.empty() && !m.trailers;
  stream.send_headers(*m.headers, alone);
  if (alone) return;
  stream.send_data(buffer_of(pool, m.body), !m.trailers);
  if (m.trailers) stream.send_trailers(*m.trailers);
}

}  // namespace sluice::http::fuzz
