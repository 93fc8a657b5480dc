// Records that the kernel writes with the keys it is given: OpenSSL's client reads them.
#include "io/kernel_tls.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "test/unit/tls/rig.h"
#include "tls/openssl.h"
#include "tls/record_layer.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

namespace {

constexpr uint8_t kAlert = 21, kHandshake = 22, kData = 23;

// The kernel's part, by RFC 8446 section 5.2: nothing but the keys.
std::string record(io::KernelTlsKeys& keys, uint8_t type, std::string_view content) {
  const EVP_CIPHER* cipher = keys.suite == 0x1301   ? EVP_aes_128_gcm()
                             : keys.suite == 0x1302 ? EVP_aes_256_gcm()
                                                    : EVP_chacha20_poly1305();
  uint8_t nonce[12];
  std::memcpy(nonce, keys.iv.data(), sizeof(nonce));
  for (size_t i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<uint8_t>(keys.sequence >> 8 * i);
  ++keys.sequence;
  const std::string inner = std::string(content) + static_cast<char>(type);
  const size_t length = inner.size() + 16;
  std::string out{23, 3, 3, static_cast<char>(length >> 8), static_cast<char>(length)};
  out.resize(5 + length);
  auto* bytes = reinterpret_cast<uint8_t*>(out.data());
  EVP_CIPHER_CTX* ctx = EVP_CIPHER_CTX_new();
  int n = 0;
  EVP_EncryptInit_ex(ctx, cipher, nullptr, keys.key.data(), nonce);
  EVP_EncryptUpdate(ctx, nullptr, &n, bytes, 5);
  EVP_EncryptUpdate(ctx, bytes + 5, &n, reinterpret_cast<const uint8_t*>(inner.data()),
                    static_cast<int>(inner.size()));
  EVP_EncryptFinal_ex(ctx, bytes + 5 + n, &n);
  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, bytes + 5 + inner.size());
  EVP_CIPHER_CTX_free(ctx);
  return out;
}

// Only whether it renews keys is asked of it here.
struct FakeKernel final : io::KernelTls {
  explicit FakeKernel(bool r) : renew_(r) {}
  bool renews() const override { return renew_; }
  int start(int, const io::KernelTlsKeys&, uint64_t&) override { return -EOPNOTSUPP; }
  int renew(int, const io::KernelTlsKeys&) override { return -EOPNOTSUPP; }
  int send_record(int, uint8_t, std::span<const uint8_t>) override { return -EOPNOTSUPP; }
  bool progress(int, Progress&) override { return false; }
  bool renew_;
};

// A server's socket whose records a kernel writes, and the library's client.
struct Offloaded {
  explicit Offloaded(const char* suite, bool renews = true) : ctx(SSL_CTX_new(TLS_client_method())) {
    bed.loop.set_kernel_tls(std::make_unique<FakeKernel>(renews));
    SSL_CTX_set_ciphersuites(ctx.get(), suite);
    ssl.reset(SSL_new(ctx.get()));
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl.get());
    bed.make_server();
    server.socket = bed.server_context->accept({.loop = bed.loop, .stats = bed.server_stats});
    io::KernelTlsKeys early;
    CHECK_FALSE(server.socket->kernel_keys(early));
    for (int i = 0; i < 5; ++i) {
      SSL_do_handshake(ssl.get());
      to_server();
      to_client(server.out.to_string());
      server.out.clear();
    }
    REQUIRE(server.socket->established());
    REQUIRE(server.socket->kernel_keys(keys));
    server.socket->on_kernel_keys(true);
  }
  void to_server() {
    char bytes[4096];
    for (int n; (n = BIO_read(SSL_get_wbio(ssl.get()), bytes, sizeof(bytes))) > 0;) {
      server.in.append(bed.loop.blocks(), {bytes, static_cast<size_t>(n)});
      server.receive();
    }
  }
  void to_client(const std::string& bytes) {
    if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl.get()), bytes.data(), static_cast<int>(bytes.size()));
    char text[20000];
    size_t n = 0;
    while (SSL_is_init_finished(ssl.get()) && SSL_read_ex(ssl.get(), text, sizeof(text), &n) == 1)
      got.append(text, n);
  }
  void hear(std::string_view text) { to_client(record(keys, kData, text)); }
  void ask_for_keys() {
    SSL_key_update(ssl.get(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(ssl.get());
    to_server();
  }
  void renew() {
    const std::string update(server.socket->key_update());
    REQUIRE(update == std::string("\x18\0\0\1\0", 5));
    to_client(record(keys, kHandshake, update));
    server.socket->on_key_update_sent();
    CHECK(server.socket->key_update().empty());
    REQUIRE(server.socket->kernel_keys(keys));
    CHECK(keys.sequence == 0);
  }

  Bed bed;
  SslCtxPtr ctx;
  SslPtr ssl;
  End server;
  io::KernelTlsKeys keys;
  std::string got;
};

constexpr const char* kSuites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                   "TLS_CHACHA20_POLY1305_SHA256"};

}  // namespace

TEST_CASE(
    "kernel's records: a client reads them on from the tickets, through renewed keys, to close_notify") {
  for (size_t suite = 0; suite < 3; ++suite) {
    Offloaded o(kSuites[suite]);
    CHECK(o.keys.suite == 0x1301 + suite);
    CHECK(o.keys.sequence > 0);  // tickets have been written
    o.hear("one ");
    size_t n = 0;
    REQUIRE(SSL_write_ex(o.ssl.get(), "question", 8, &n) == 1);
    o.to_server();
    CHECK(o.server.got == "question");
    for (int i = 0; i < 3; ++i) {
      o.ask_for_keys();
      if (i == 1) o.ask_for_keys();  // twice before we say anything: one answer
      CHECK(o.server.out.empty());
      o.renew();
      o.hear("more ");
    }
    o.server.socket->on_kernel_sequence((1 << 24) - 1);
    CHECK(o.server.socket->key_update().empty());
    o.server.socket->on_kernel_sequence(1 << 24);
    o.renew();
    o.hear("end");
    o.server.socket->end(o.server.out);
    CHECK(o.server.out.to_string() == std::string("\1\0", 2));
    o.to_client(record(o.keys, kAlert, o.server.out.to_string()));
    CHECK(o.got == "one more more more end");
    CHECK(SSL_get_shutdown(o.ssl.get()) == SSL_RECEIVED_SHUTDOWN);
    CHECK(o.bed.at_server("ktls.tx") == 1);
    CHECK(o.bed.at_server("ktls.tx_rekey") == 4);
  }
}

TEST_CASE("kernel's records: a failure's alert is given in the clear, for the kernel to write") {
  Offloaded o(kSuites[0]);
  o.server.in.append(o.bed.loop.blocks(), std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x'));
  o.server.receive();
  CHECK(o.server.status == State::failed);
  CHECK(o.server.out.to_string() == std::string("\2\x14", 2));  // bad_record_mac
}

TEST_CASE("kernel's records: keys that it cannot renew are a failure with a name") {
  Offloaded o(kSuites[0], false);
  o.hear("one");
  o.ask_for_keys();
  REQUIRE_FALSE(o.server.socket->key_update().empty());
  o.server.socket->on_renewal_failed(o.server.out);
  CHECK(o.server.out.to_string() == std::string("\2\x50", 2));  // internal_error
  o.to_client(record(o.keys, kAlert, o.server.out.to_string()));
  CHECK(o.got == "one");
  CHECK(o.server.socket->failure() ==
        "TLS_error:|268435456:SSL routines:OPENSSL_internal:KERNEL_CANNOT_RENEW_KEYS:TLS_error_end");
  CHECK(o.bed.at_server("ktls.tx_rekey_refused") == 1);
}

TEST_CASE("kernel's records: none of a client's, of TLS 1.2's, of one that the kernel refused") {
  Bed bed;
  io::KernelTlsKeys keys;
  REQUIRE(bed.connect());
  CHECK_FALSE(bed.client.socket->kernel_keys(keys));
  REQUIRE(bed.server.socket->kernel_keys(keys));
  bed.server.socket->on_kernel_keys(false);
  CHECK(bed.at_server("ktls.tx_refused") == 1);
  bed.send(bed.server, "written here");
  CHECK(bed.client.got == "written here");

  Bed old;
  old.client_settings.max_version = Version::tls12;
  REQUIRE(old.connect());
  CHECK_FALSE(old.server.socket->kernel_keys(keys));
}
