#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "http/http1.h"

// What the HTTP/1 codec costs a message: a browser-like request of ten fields and its answer, over and over on one
// connection each. `http1_micro [rounds]`; nanoseconds are of this machine, instructions (perf stat) of the code.
namespace sluice::http {
namespace {

constexpr std::string_view kRequest =
    "GET /api/v1/products/4711?currency=EUR HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Referer: https://shop.example.com/catalogue\r\n"
    "Cookie: session=9b2c4d7e8f; theme=dark\r\n"
    "X-Request-Id: 3f1c9a52-6b7d-4e0a-9a55-0c8e7d1b2a34\r\n"
    "X-Forwarded-For: 10.1.2.3\r\n"
    "Cache-Control: no-cache\r\n"
    "\r\n";
constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\n"
    "Date: Sun, 22 Nov 2026 06:19:36 GMT\r\n"
    "Server: backend\r\n"
    "Content-Type: application/json; charset=utf-8\r\n"
    "Content-Length: 27\r\n"
    "Cache-Control: private, max-age=0\r\n"
    "ETag: \"5d8c72a5edda8\"\r\n"
    "Vary: Accept-Encoding\r\n"
    "X-Frame-Options: DENY\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Strict-Transport-Security: max-age=31536000\r\n"
    "\r\n"
    "{\"id\":4711,\"price\":\"19.99\"}";

struct Sink final : Output {
  BlockPool pool;
  uint64_t bytes = 0;
  void write(Buffer&& data) override {
    bytes += data.size();
    data.clear();
  }
  BlockPool& blocks() override { return pool; }
  void pause_reading() override {}
  void resume_reading() override {}
  void receive_soon() override {}
};

struct Bench final : ServerCallbacks, ClientCallbacks, StreamReceiver {
  Sink sink;
  stats::Store store{1};
  Http1Stats stats{store.root(0)};
  Http1Config config;
  HeaderMapPtr headers;
  bool ended = false;
  Stream* stream = nullptr;

  StreamReceiver& on_new_stream(Stream& s) override {
    stream = &s;
    return *this;
  }
  void on_goaway(bool) override {}
  void on_headers(HeaderMapPtr h, bool end) override {
    headers = std::move(h);
    ended |= end;
  }
  void on_data(Buffer& data, bool end) override {
    data.clear();
    ended |= end;
  }
  void on_trailers(HeaderMapPtr) override {}
  void on_reset(ResetReason, std::string_view) override {}
  Buffer block(std::string_view bytes) {
    Buffer b;
    b.append(sink.pool, bytes);
    return b;
  }
};

void measure(const char* what, long rounds, const std::function<void(long)>& run) {
  run(rounds / 10);
  auto begin = std::chrono::steady_clock::now();
  run(rounds);
  double ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%-50s %7.1f ns\n", what, ns / static_cast<double>(rounds));
}

int main(int argc, char** argv) {
  long rounds = argc > 1 ? std::atol(argv[1]) : 1'000'000;
  const char* only = argc > 2 ? argv[2] : "sc";
  if (std::string_view(only).find('s') != std::string_view::npos)
    measure("server: 10-field request in, 10-field answer out", rounds, [](long n) {
      Bench b, source;
      auto server = make_http1_server(b.config, b.stats, b.sink, b);
      auto client = make_http1_client(source.config, source.stats, source.sink, source);
      Stream& s = client->new_stream(source);
      HeaderMapPtr get = make_headers();
      get->add(Name::method, "GET");
      get->add(Name::path, "/");
      s.send_headers(*get, true);
      Buffer answer = source.block(kResponse);
      client->receive(answer);
      for (; n > 0; --n) {
        Buffer in = b.block(kRequest);
        server->receive(in);
        b.stream->send_headers(*source.headers, false);
        b.stream->send_data(b.block("{\"id\":4711,\"price\":\"19.99\"}"), true);
        b.headers.reset();
      }
    });
  if (std::string_view(only).find('c') != std::string_view::npos)
    measure("client: 10-field request out, 10-field answer in", rounds, [](long n) {
      Bench b, source;
      auto server = make_http1_server(source.config, source.stats, source.sink, source);
      auto client = make_http1_client(b.config, b.stats, b.sink, b);
      Buffer request = source.block(kRequest);
      server->receive(request);
      for (; n > 0; --n) {
        client->new_stream(b).send_headers(*source.headers, true);
        Buffer in = b.block(kResponse);
        client->receive(in);
        b.headers.reset();
      }
      server->connection_lost(ResetReason::connection_termination, "");
    });
  return 0;
}

}  // namespace
}  // namespace sluice::http

int main(int argc, char** argv) {
  return sluice::http::main(argc, argv);
}
