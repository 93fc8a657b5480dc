#define DOCTEST_CONFIG_DISABLE  // the rig's checks are not for here
#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test/unit/tls/rig.h"

// What tls_micro measures of the library, of the engine on top of it: whole handshakes in memory, one request and one
// answer on each, the server's calls alone; what a connection that stands costs in memory; what records cost.
// `tls_engine_micro [rounds] [batch] [text]`, where text is of the kinds' names; the kinds are taken in turn, round by round.
namespace sluice::tls::test {
namespace {

constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nhost: bench.local\r\n\r\n";
constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

[[noreturn]] void die(const char* kind, const char* what) {
  std::fprintf(stderr, "tls_engine_micro: %s: %s\n", kind, what);
  std::exit(1);
}

double cpu_us() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

struct Kind {
  const char* name;
  const char* curve = "P-256";
  bool rsa = false, mutual = false, resume = false;
  Version version = Version::tls13;
};
constexpr Kind kKinds[] = {
    {.name = "P-256"},
    {.name = "P-256, X25519 exchange", .curve = "X25519"},
    {.name = "P-256, resumed", .resume = true},
    {.name = "P-256, X25519 exchange, resumed", .curve = "X25519", .resume = true},
    {.name = "P-256, client certificate", .mutual = true},
    {.name = "P-256, X25519 exchange, client certificate", .curve = "X25519", .mutual = true},
    {.name = "P-256, X25519, client certificate, resumed", .curve = "X25519", .mutual = true, .resume = true},
    {.name = "RSA-2048", .rsa = true},
    {.name = "TLS 1.2, P-256", .version = Version::tls12},
    {.name = "TLS 1.2, P-256, resumed", .resume = true, .version = Version::tls12},
};

// Server and client contexts of one kind, and connections between them.
class Pair {
 public:
  explicit Pair(const Kind& kind) : kind_(kind) {
    if (kind.rsa)
      bed_.server_secrets.certificates = {certificate(
          bed_.ca.issue({.common_name = "server", .sans = {"DNS:server.example"}, .key = KeyKind::rsa2048}))};
    bed_.client_settings.curves = {kind.curve};
    bed_.client_settings.max_version = kind.version;
    bed_.client_settings.max_session_keys = kind.resume ? 1 : 0;
    if (kind.mutual) {
      bed_.server_settings.require_client_certificate = true;
      bed_.server_secrets.validation = trusting(bed_.ca);
      bed_.client_secrets.certificates = {certificate(bed_.ca.issue(
          {.common_name = "client", .sans = {"URI:spiffe://cluster.local/ns/default/sa/client"}}))};
    }
    bed_.make_server();
    bed_.make_client();
    if (!bed_.server_context || !bed_.client_context) die(kind.name, "no context");
    if (kind.resume) connect(), close();
  }

  // A connection, until an answer has come.
  void connect() {
    bed_.server = End{};
    bed_.client = End{};
    serve([&] {
      bed_.server.socket = bed_.server_context->accept({.loop = bed_.loop, .stats = bed_.server_stats});
      bed_.server.socket->start(bed_.server.out);
    });
    bed_.client.socket =
        bed_.client_context->connect({.loop = bed_.loop, .stats = bed_.client_stats}, bed_.options);
    bed_.client.socket->start(bed_.client.out);
    bool asked = false;
    while (bed_.client.got.size() < kAnswer.size()) {
      if (bed_.client.out.empty() && bed_.server.out.empty() && asked) die(kind_.name, "no answer");
      if (!asked && bed_.client.socket->established()) {
        put(bed_.client, kRequest);
        asked = true;
      }
      carry(bed_.client, bed_.server);
      serve([&] {
        bed_.server.receive();
        if (bed_.server.got.size() == kRequest.size()) {
          put(bed_.server, kAnswer);
          bed_.server.got.clear();
        }
      });
      carry(bed_.server, bed_.client);
      bed_.client.receive();
      if (bed_.server.status != State::ok || bed_.client.status != State::ok) die(kind_.name, "failed");
    }
  }
  void close() {
    bed_.client.socket->end(bed_.client.out);
    carry(bed_.client, bed_.server);
    serve([&] {
      bed_.server.receive();
      bed_.server.socket->end(bed_.server.out);
      bed_.server.socket.reset();
    });
    carry(bed_.server, bed_.client);
    bed_.client.receive();
    bed_.client.socket.reset();
  }
  // The open connection is kept for good.
  void keep() {
    kept_.push_back(std::move(bed_.server));
    kept_.push_back(std::move(bed_.client));
  }

  double handshakes(int n) {
    const uint64_t reused = bed_.at_server("session_reused");
    spent_ = 0;
    for (int i = 0; i < n; ++i) connect(), close();
    if (bed_.at_server("session_reused") - reused != (kind_.resume ? static_cast<uint64_t>(n) : 0))
      die(kind_.name, kind_.resume ? "not resumed" : "resumed");
    return spent_ / n;
  }
  // Bytes for each of n connections that stand.
  double memory(int n) {
    connect(), close();
    held_ = 0;
    count_ = true;
    for (int i = 0; i < n; ++i) connect(), keep();
    count_ = false;
    return static_cast<double>(held_) / n;
  }
  // Microseconds of the server to send and to receive so many bytes: the mean of 16.
  std::pair<double, double> records(size_t size) {
    if (!bed_.server.socket) connect();
    const std::string text(size, 'x');
    double w = 0, r = 0;
    for (int i = 0; i < 16; ++i) {
      spent_ = 0;
      Buffer plain;
      plain.append(bed_.loop.blocks(), text);
      serve([&] { bed_.server.socket->send(plain, plain.size(), bed_.server.out); });
      w += spent_;
      carry(bed_.server, bed_.client);
      bed_.client.receive();
      put(bed_.client, text);
      carry(bed_.client, bed_.server);
      spent_ = 0;
      Buffer got;
      serve([&] {
        bed_.server.status = bed_.server.socket->receive(bed_.server.in, false, got, bed_.server.out);
      });
      r += spent_;
      if (got.size() != size) die(kind_.name, "records");
      bed_.client.got.clear();
    }
    return {w / 16, r / 16};
  }

 private:
  template <typename F>
  void serve(F f) {
    const size_t before = count_ ? mallinfo2().uordblks : 0;
    const double t = cpu_us();
    f();
    spent_ += cpu_us() - t;
    if (count_) held_ += static_cast<long>(mallinfo2().uordblks) - static_cast<long>(before);
  }
  void put(End& end, std::string_view text) {
    Buffer plain;
    plain.append(bed_.loop.blocks(), text);
    end.socket->send(plain, plain.size(), end.out);
  }
  static void carry(End& from, End& to) { to.in.append(std::move(from.out)); }

  Kind kind_;
  Bed bed_;
  std::vector<End> kept_;
  double spent_ = 0;
  long held_ = 0;
  bool count_ = false;
};

int run(int rounds, int batch, std::string_view text) {
  std::vector<Kind> kinds;
  for (const Kind& k : kKinds)
    if (std::string_view(k.name).find(text) != std::string_view::npos) kinds.push_back(k);
  if (kinds.empty()) die("no kind has this in its name", std::string(text).c_str());
  std::vector<std::vector<double>> us(kinds.size());
  for (int r = 0; r < rounds; ++r)
    for (size_t k = 0; k < kinds.size(); ++k) {
      Pair pair(kinds[k]);
      pair.handshakes(3);
      us[k].push_back(pair.handshakes(batch));
    }
  std::printf("%-46s %10s %10s %16s\n", "", "best us", "median us", "bytes standing");
  for (size_t k = 0; k < kinds.size(); ++k) {
    std::sort(us[k].begin(), us[k].end());
    std::printf("%-46s %10.1f %10.1f %16.0f\n", kinds[k].name, us[k].front(), us[k][us[k].size() / 2],
                Pair(kinds[k]).memory(200));
  }
  Pair pair(kinds[0]);
  for (const size_t size : {size_t{200}, size_t{1024}, size_t{16384}}) {
    std::pair<double, double> best{1e9, 1e9};
    for (int i = 0; i < 200; ++i) {
      const auto [w, r] = pair.records(size);
      best = {std::min(best.first, w), std::min(best.second, r)};
    }
    std::printf("%6zu bytes: send %6.2f us, receive %6.2f us\n", size, best.first, best.second);
  }
  return 0;
}

}  // namespace
}  // namespace sluice::tls::test

int main(int argc, char** argv) {
  return sluice::tls::test::run(argc > 1 ? std::atoi(argv[1]) : 7, argc > 2 ? std::atoi(argv[2]) : 60,
                                argc > 3 ? argv[3] : "");
}
