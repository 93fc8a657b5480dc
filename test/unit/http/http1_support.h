#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "http/http1.h"

// Both ends of an HTTP/1 connection without a socket: what a codec reports becomes a text that tests compare.
namespace sluice::http {

struct FakeOutput final : Output {
  BlockPool& pool;
  std::string sent;
  int paused = 0;  // pauses less resumes
  int writes = 0;
  bool soon = false;

  explicit FakeOutput(BlockPool& p) : pool(p) {}
  void write(Buffer&& data) override {
    ++writes;
    sent += data.to_string();
    data.clear();
  }
  BlockPool& blocks() override { return pool; }
  void pause_reading() override { ++paused; }
  void resume_reading() override {
    REQUIRE(paused > 0);
    --paused;
  }
  void receive_soon() override { soon = true; }
};

inline std::string describe(const HeaderMap& headers) {
  std::string s = "{";
  for (const HeaderMap::Field& f : headers) {
    if (s.size() > 1) s += "|";
    s.append(f.name).append("=").append(f.value);
  }
  return s + "}";
}

// One stream's events, each in a line; data runs together, so that the way it came in parts does not show.
struct Recorder final : StreamReceiver {
  std::string log;
  std::function<void()> headers_hook, data_hook, end_hook;  // after the event was written down
  std::function<void(Stream&, uint16_t)> bad_hook;
  bool in_data = false, ended = false, was_reset = false;
  uint16_t status = 0;
  HeaderMapPtr headers;
  std::string body;

  void line(std::string s) {
    REQUIRE_FALSE(was_reset);
    REQUIRE_FALSE(ended);
    if (in_data) log += ")\n";
    in_data = false;
    log += s + "\n";
  }
  void finish() {
    ended = true;
    if (end_hook) end_hook();
  }
  void on_headers(HeaderMapPtr h, bool end_stream) override {
    line("headers" + describe(*h));
    headers = std::move(h);
    if (end_stream) line("end");
    if (headers_hook) headers_hook();
    if (end_stream) finish();
  }
  void on_informational(HeaderMapPtr h) override { line("informational" + describe(*h)); }
  void on_data(Buffer& data, bool end_stream) override {
    REQUIRE_FALSE(was_reset);
    REQUIRE_FALSE(ended);
    if (!data.empty()) {
      if (!in_data) log += "data(";
      in_data = true;
      log += data.to_string();
      body += data.to_string();
      data.clear();
    }
    if (data_hook) data_hook();
    if (!end_stream) return;
    line("end");
    finish();
  }
  void on_trailers(HeaderMapPtr h) override {
    line("trailers" + describe(*h));
    line("end");
    finish();
  }
  void on_bad_message(Stream& stream, uint16_t code, std::string_view details) override {
    line("bad " + std::to_string(code) + " " + std::string(details));
    if (bad_hook) bad_hook(stream, code);
  }
  void on_reset(ResetReason reason, std::string_view details) override {
    REQUIRE_FALSE(was_reset);
    if (in_data) log += ")\n";
    in_data = false;
    log += "reset " + std::string(to_string(reason)) + " " + std::string(details) + "\n";
    was_reset = true;
  }
  void on_above_write_high_watermark() override { line("above"); }
  void on_below_write_low_watermark() override { line("below"); }
};

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;
inline HeaderMapPtr make(const Fields& fields) {
  HeaderMapPtr h = make_headers();
  for (auto& [name, value] : fields) h->add(name, value);
  return h;
}

inline Buffer buffer_of(BlockPool& pool, std::string_view s) {
  Buffer b;
  b.append(pool, s);
  return b;
}

// What a connection needs around it.
struct Http1Bench {
  BlockPool pool;
  stats::Store store{1};
  Http1Stats stats{store.root(0)};
  Http1Config config;
  FakeOutput output{pool};
};

// A server connection with an application that answers each request, when it is whole, with "ok".
struct ServerBench final : Http1Bench, ServerCallbacks {
  std::vector<std::unique_ptr<Recorder>> streams;
  std::vector<Stream*> handles;
  std::unique_ptr<ServerConnection> connection;
  std::function<void(Recorder&, Stream&)> setup;  // instead of the answering application
  std::string error;

  void start() { connection = make_http1_server(config, stats, output, *this); }
  ~ServerBench() {
    if (connection) connection->connection_lost(ResetReason::connection_termination, "");
    CHECK(output.paused == 0);
    connection.reset();
  }
  StreamReceiver& on_new_stream(Stream& stream) override {
    streams.push_back(std::make_unique<Recorder>());
    handles.push_back(&stream);
    Recorder& r = *streams.back();
    r.bad_hook = [](Stream& s, uint16_t code) {
      s.send_headers(*make({{":status", std::to_string(code)}}), true);
    };
    if (setup) {
      setup(r, stream);
    } else {
      r.end_hook = [this, &stream] {
        stream.send_headers(*make({{":status", "200"}, {"content-length", "2"}}), false);
        stream.send_data(buffer_of(pool, "ok"), true);
      };
    }
    return r;
  }
  Recorder& last() { return *streams.back(); }
  Stream& stream() { return *handles.back(); }
  void feed(std::string_view bytes) {
    Buffer b = buffer_of(pool, bytes);
    for (;;) {
      if (auto e = connection->receive(b)) error = std::string(e->details) + ": " + e->message;
      CHECK(b.empty());
      if (!std::exchange(output.soon, false)) break;
    }
  }
  std::string log() const {
    std::string s;
    for (auto& r : streams) s += r->log + (r->in_data ? ")" : "") + "--\n";
    return s + error;
  }
};

struct ClientBench final : Http1Bench, ClientCallbacks {
  Recorder recorder;
  std::unique_ptr<ClientConnection> connection;
  Stream* stream = nullptr;
  std::string error;

  void start() { connection = make_http1_client(config, stats, output, *this); }
  ~ClientBench() {
    if (connection) connection->connection_lost(ResetReason::connection_termination, "");
    CHECK(output.paused == 0);
    connection.reset();
  }
  void on_goaway(bool) override {}
  void request(const Fields& fields, bool end_stream = true) {
    stream = &connection->new_stream(recorder);
    stream->send_headers(*make(fields), end_stream);
  }
  void get(std::string_view method = "GET") {
    request({{":method", method}, {":path", "/"}, {":authority", "a"}, {":scheme", "http"}});
  }
  void feed(std::string_view bytes) {
    Buffer b = buffer_of(pool, bytes);
    for (;;) {
      if (auto e = connection->receive(b)) error = std::string(e->details) + ": " + e->message;
      CHECK(b.empty());
      if (!std::exchange(output.soon, false)) break;
    }
  }
  void end() {
    if (auto e = connection->receive_end()) error = std::string(e->details) + ": " + e->message;
  }
  std::string log() const { return recorder.log + (recorder.in_data ? ")" : "") + error; }
};

// Every way of splitting that is tried: whole, byte by byte, and at random.
inline std::vector<std::vector<std::string_view>> splits(std::string_view bytes, uint64_t seed) {
  std::vector<std::vector<std::string_view>> all(1, {bytes});
  all.emplace_back();
  for (size_t i = 0; i < bytes.size(); ++i) all.back().push_back(bytes.substr(i, 1));
  Random random(seed);
  for (int round = 0; round < 4; ++round) {
    all.emplace_back();
    for (size_t i = 0; i < bytes.size();) {
      size_t n = std::min<size_t>(bytes.size() - i, 1 + random.below(1 + bytes.size() / 3));
      all.back().push_back(bytes.substr(i, n));
      i += n;
    }
  }
  return all;
}

}  // namespace sluice::http
