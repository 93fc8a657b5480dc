// A server's connection on real sockets whose records the kernel writes, and OpenSSL's client. Where the kernel has no TLS the
// same must hold of our own records.
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <fstream>

#include "io/kernel_tls.h"
#include "net/connection.h"
#include "test/unit/io/rig.h"
#include "test/unit/tls/rig.h"
#include "tls/errors.h"
#include "tls/openssl.h"

using namespace sluice;
using namespace sluice::tls;
using ext::CloseCause;
using io::Epoll;
using io::IoUring;

namespace {

struct Kernel {
  io::KernelTlsSupport found = io::probe_kernel_tls();
};
const io::KernelTlsSupport& kernel() {
  static const Kernel k;
  if (!k.found.available) MESSAGE("this kernel has no TLS: " << k.found.why);
  return k.found;
}

uint64_t connections_of_kernel() {
  std::ifstream in("/proc/thread-self/net/tls_stat");
  std::string name;
  for (uint64_t n = 0; in >> name >> n;)
    if (name == "TlsTxSw") return n;
  return 0;
}

struct Owner final : net::ConnectionHandler {
  void on_secured(net::Connection&) override { secured = true; }
  void on_data(net::Connection&, Buffer& data, bool end) override {
    received += data.to_string();
    data.clear();
    ended |= end;
  }
  void on_closed(ext::Connection&, const ext::CloseEvent& e) override {
    ++closed;
    event = e;
  }
  std::string received;
  bool secured = false, ended = false;
  int closed = 0;
  ext::CloseEvent event;
};

struct Secured : io::Rig {
  Secured(std::unique_ptr<io::Loop> l, const char* suite)
      : Rig(std::move(l)), ctx(SSL_CTX_new(TLS_client_method())) {
    const Pair p = connect();
    std::erase(fds, p.b);
    client = p.a;
    const int small = 1 << 17;  // of the client: what we send waits, in parts
    ::setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    SSL_CTX_set_ciphersuites(ctx.get(), suite);
    ssl.reset(SSL_new(ctx.get()));
    SSL_set_fd(ssl.get(), client);
    SSL_set_connect_state(ssl.get());
    bed.make_server();
    connection = net::Connection::create(
        *loop, p.b, {.id = 1}, owner, bed.server_context->accept({.loop = *loop, .stats = bed.server_stats}));
    connection->start(loop->local_address(p.b), loop->peer_address(p.b));
    REQUIRE(until([&] { return SSL_do_handshake(ssl.get()) == 1; }));
    REQUIRE(until([&] { return owner.secured; }));
    CHECK(SSL_get_cipher_name(ssl.get()) == std::string(suite));
  }
  ~Secured() {
    connection.reset();
    turns(5);
  }
  // The client's socket is no matter of the loop.
  template <typename F>
  bool until(F done) {
    const MonotonicTime deadline = loop->now() + std::chrono::minutes(2);
    while (!done()) {
      if (loop->now() > deadline) return false;
      loop->run_once(std::chrono::milliseconds(1));
    }
    return true;
  }
  void write(std::string_view text, bool end = false) {
    Buffer b;
    b.append(loop->blocks(), text);
    connection->write(std::move(b), end);
  }
  void say(std::string_view text) {
    size_t n = 0;
    REQUIRE(until([&] { return SSL_write_ex(ssl.get(), text.data(), text.size(), &n) == 1; }));
  }
  // What the client can read now; its last error.
  int read() {
    char text[20000];
    size_t n = 0;
    int r;
    while ((r = SSL_read_ex(ssl.get(), text, sizeof(text), &n)) == 1) got.append(text, n);
    return SSL_get_error(ssl.get(), r);
  }
  bool hear(size_t size) {
    return until([&] {
      read();
      return got.size() >= size;
    });
  }

  tls::test::Bed bed;
  Owner owner;
  net::ConnectionPtr connection;
  SslCtxPtr ctx;
  SslPtr ssl;
  int client;
  std::string got;
};

template <typename Backend>
std::unique_ptr<io::Loop> loop_with_tls() {
  return Backend::make({.kernel_tls = {.use = true, .renews = kernel().renews}});
}

std::string pattern(size_t n) {
  std::string s(n, 0);
  for (size_t i = 0; i < n; ++i) s[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return s;
}

constexpr const char* kSuites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                   "TLS_CHACHA20_POLY1305_SHA256"};

}  // namespace

SLUICE_EACH_KERNEL_BACKEND(
    "kernel's sockets: small and large, then close_notify, then FIN; the other direction stays ours") {
  const bool by_kernel = kernel().available;  // asked first: it counts as a connection
  for (const char* suite : kSuites) {
    const uint64_t before = connections_of_kernel();
    Secured s(loop_with_tls<Backend>(), suite);
    s.write("hello ");
    REQUIRE(s.hear(6));
    CHECK(connections_of_kernel() == before + by_kernel);
    CHECK(s.bed.at_server("ktls.tx") == by_kernel);
    s.say("question");
    REQUIRE(s.until([&] { return s.owner.received == "question"; }));
    const std::string big = pattern(2'000'000);
    s.write(big, true);
    REQUIRE(s.hear(6 + big.size()));
    CHECK(s.got == "hello " + big);
    REQUIRE(s.until([&] { return s.read() == SSL_ERROR_ZERO_RETURN; }));  // close_notify
    char none;
    REQUIRE(s.until([&] { return ::recv(s.client, &none, 1, MSG_DONTWAIT) == 0; }));
    CHECK(s.owner.closed == 0);
    SSL_shutdown(s.ssl.get());
    REQUIRE(s.until([&] { return s.owner.closed == 1; }));
    CHECK(s.owner.event.cause == CloseCause::remote_close);
    CHECK(s.connection->bytes_sent() == 6 + big.size());
  }
}

SLUICE_EACH_KERNEL_BACKEND("kernel's sockets: what is flushed at the end arrives whole") {
  for (int round = 0; round < 3; ++round) {
    Secured s(loop_with_tls<Backend>(), kSuites[0]);
    const std::string big = pattern(6'000'000 + 7919 * static_cast<size_t>(round));
    s.write(big);
    s.connection->close(ext::CloseKind::flush);
    s.turns(3);  // the client has not read a byte yet
    REQUIRE(s.until([&] { return s.read() == SSL_ERROR_ZERO_RETURN; }));
    CHECK(s.got == big);
  }
}

SLUICE_EACH_KERNEL_BACKEND("kernel's sockets: the client asks for new keys") {
  for (const char* suite : kSuites) {
    Secured s(loop_with_tls<Backend>(), suite);
    s.write("first");
    REQUIRE(s.hear(5));
    REQUIRE(SSL_key_update(s.ssl.get(), SSL_KEY_UPDATE_REQUESTED) == 1);
    s.say("new keys");
    REQUIRE(s.until([&] { return s.owner.received == "new keys"; }));
    s.write("second");
    if (kernel().renews || !kernel().available) {
      CHECK(s.hear(11));
      CHECK(s.got == "firstsecond");
      CHECK(s.bed.at_server("ktls.tx_rekey") == kernel().renews);
      continue;
    }
    int error = SSL_ERROR_NONE;
    REQUIRE(s.until([&] { return (error = s.read()) != SSL_ERROR_WANT_READ; }));
    CHECK(error == SSL_ERROR_SSL);  // the alert
    clear_errors();
    CHECK(s.got == "first");
    REQUIRE(s.until([&] { return s.owner.closed == 1; }));
    CHECK(s.owner.event.cause == CloseCause::transport);
    CHECK(s.connection->transport_failure().find("KERNEL_CANNOT_RENEW_KEYS") != std::string::npos);
    CHECK(s.bed.at_server("ktls.tx_rekey_refused") == 1);
  }
}

SLUICE_EACH_KERNEL_BACKEND("kernel's sockets: a reset stays a reset") {
  Secured s(loop_with_tls<Backend>(), kSuites[0]);
  s.write("first");
  REQUIRE(s.hear(5));
  s.connection->close(ext::CloseKind::reset);
  char none;
  REQUIRE(s.until([&] { return ::recv(s.client, &none, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET; }));
  CHECK(s.owner.event.cause == CloseCause::local);
}

// Where the kernel has none, and in any case where it is not asked: the same, by our own records.
SLUICE_EACH_KERNEL_BACKEND("kernel's sockets: a kernel without TLS changes nothing") {
  const bool has = kernel().available;
  const uint64_t before = connections_of_kernel();
  Secured s(has ? Backend::make() : Backend::make({.kernel_tls = {.use = true}}), kSuites[0]);
  s.write("hello", true);
  REQUIRE(s.hear(5));
  REQUIRE(s.until([&] { return s.read() == SSL_ERROR_ZERO_RETURN; }));
  CHECK(connections_of_kernel() == before);
  CHECK(s.bed.at_server("ktls.tx") == 0);
  CHECK(s.bed.at_server("ktls.tx_refused") == (has ? 0 : 1));
}
