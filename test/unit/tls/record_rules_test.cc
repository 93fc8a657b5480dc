// What RFC 8446 says of records that our own side never makes: the peer here writes whatever it is told to, with cryptography of
// its own.
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "test/unit/tls/rig.h"
#include "tls/record_layer.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

namespace {

using Outcome = RecordLayer::Outcome;
using namespace std::string_literals;

enum : uint8_t { ccs = 20, alert = 21, handshake = 22, data = 23, heartbeat = 24 };

constexpr std::string_view kUpdate("\x18\0\0\1\0", 5), kUpdateBoth("\x18\0\0\1\1", 5);

// HKDF-Expand-Label, by the library's own HKDF.
std::string expand(const std::string& secret, std::string_view label, size_t n) {
  std::string info = {0, static_cast<char>(n), static_cast<char>(6 + label.size())};
  info.append("tls13 ").append(label).push_back(0);
  std::string out(n, 0);
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* ctx = EVP_KDF_CTX_new(kdf);
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<char*>(secret.data()), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end()};
  REQUIRE(EVP_KDF_derive(ctx, reinterpret_cast<uint8_t*>(out.data()), n, params) == 1);
  EVP_KDF_CTX_free(ctx);
  EVP_KDF_free(kdf);
  return out;
}

// One direction of TLS_AES_128_GCM_SHA256.
struct Direction {
  std::string secret;
  uint64_t sequence = 0;

  void renew() {
    secret = expand(secret, "traffic upd", 32);
    sequence = 0;
  }
  // Null `tag`: seals, and appends the tag.
  std::optional<std::string> crypt(const std::string& header, const std::string& in, const std::string* tag) {
    const std::string key = expand(secret, "key", 16);
    std::string nonce = expand(secret, "iv", 12);
    for (int i = 0; i < 8; ++i) nonce[11 - i] = static_cast<char>(nonce[11 - i] ^ (sequence >> 8 * i & 0xff));
    ++sequence;
    auto bytes = [](const std::string& s) { return reinterpret_cast<const uint8_t*>(s.data()); };
    std::string out(in.size(), 0), made(16, 0);
    auto* to = reinterpret_cast<uint8_t*>(out.data());
    EVP_CIPHER_CTX* ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    EVP_CipherInit_ex(ctx, EVP_aes_128_gcm(), nullptr, bytes(key), bytes(nonce), tag ? 0 : 1);
    EVP_CipherUpdate(ctx, nullptr, &n, bytes(header), 5);
    EVP_CipherUpdate(ctx, to, &n, bytes(in), static_cast<int>(in.size()));
    if (tag) EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, const_cast<char*>(tag->data()));
    const bool good = EVP_CipherFinal_ex(ctx, to + n, &n) == 1;
    if (!tag) EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, made.data());
    EVP_CIPHER_CTX_free(ctx);
    if (!good) return std::nullopt;
    return tag ? out : out + made;
  }
};

struct Peer {
  Direction writes{std::string(32, 'c')}, reads{std::string(32, 's')};
  BlockPool blocks;
  std::unique_ptr<RecordLayer> layer;
  Buffer in, plain, out;
  Outcome outcome = Outcome::ok;

  Peer() {
    auto bytes = [](const Direction& d) {
      return std::span(reinterpret_cast<const uint8_t*>(d.secret.data()), d.secret.size());
    };
    layer = RecordLayer::make({0x1301, bytes(writes), bytes(reads), 0});
    REQUIRE(layer);
  }
  std::string record(uint8_t type, std::string_view content, size_t padding = 0) {
    const std::string inner = std::string(content) + static_cast<char>(type) + std::string(padding, 0);
    const size_t n = inner.size() + 16;
    const std::string header = {23, 3, 3, static_cast<char>(n >> 8), static_cast<char>(n & 0xff)};
    return header + *writes.crypt(header, inner, nullptr);
  }
  Peer& send(std::string_view bytes) {
    in.append(blocks, bytes);
    if (outcome == Outcome::ok) outcome = layer->open(in, plain, blocks, out);
    return *this;
  }
  Peer& send(uint8_t type, std::string_view content, size_t padding = 0) {
    return send(record(type, content, padding));
  }
  // {type, content} of each record in `out`; a KeyUpdate renews our key.
  std::vector<std::pair<int, std::string>> answers() {
    std::vector<std::pair<int, std::string>> got;
    std::string bytes = out.to_string();
    out.clear();
    while (bytes.size() >= 5) {
      const size_t n =
          static_cast<size_t>(static_cast<uint8_t>(bytes[3])) << 8 | static_cast<uint8_t>(bytes[4]);
      const std::string tag = bytes.substr(5 + n - 16, 16);
      auto inner = reads.crypt(bytes.substr(0, 5), bytes.substr(5, n - 16), &tag);
      REQUIRE(inner);
      const int type = inner->back();
      inner->pop_back();
      if (type == handshake) reads.renew();
      got.emplace_back(type, *inner);
      bytes.erase(0, 5 + n);
    }
    return got;
  }
  // What the last record came to: the alert that answers it; 0: it was taken; -1: the end.
  int verdict() {
    if (outcome == Outcome::ok) return 0;
    if (outcome == Outcome::ended) return -1;
    const auto said = answers();
    return said.size() == 1 && said[0].first == alert && said[0].second[0] == 2 ? said[0].second[1] : 999;
  }
};

}  // namespace

TEST_CASE("record layer: what a record may hold") {
  struct {
    const char* what;
    uint8_t type;
    std::string content;
    size_t padding;
    int verdict;
  } cases[] = {
      {"data", data, "x", 0, 0},
      {"no data at all", data, "", 0, 0},
      {"padding alone", data, "", 16384, 0},
      {"all that there may be", data, std::string(16384, 'x'), 0, 0},
      {"one byte more of data", data, std::string(16385, 'x'), 0, 22},
      {"one byte more of padding", data, std::string(16380, 'x'), 5, 22},
      {"padding to the longest record", data, "x", 16384 + 256 - 16 - 2, 22},
      {"no type", 0, "", 100, 10},
      {"change_cipher_spec", ccs, "\1", 0, 10},
      {"heartbeat", heartbeat, "\1\0\0", 0, 10},
      {"an unknown type", 99, "x", 0, 10},
      {"close_notify", alert, "\1\0"s, 0, -1},
      {"a fatal close_notify", alert, "\2\0"s, 0, -1},
      {"close_notify with padding", alert, "\1\0"s, 300, -1},
      {"user_canceled", alert, "\1\x5a", 0, 0},
      {"no alert", alert, "", 0, 10},
      {"no alert, and padding", alert, "", 9, 10},
      {"half an alert", alert, "\1", 0, 50},
      {"two alerts", alert, "\1\x5a\1\x5a", 0, 50},
      {"no message", handshake, "", 0, 10},
      {"KeyUpdate", handshake, std::string(kUpdate), 0, 0},
      {"KeyUpdate, and padding", handshake, std::string(kUpdate), 1000, 0},
      {"a KeyUpdate that wishes for the unknown", handshake, "\x18\0\0\1\2"s, 0, 47},
      {"an empty KeyUpdate", handshake, "\x18\0\0\0"s, 0, 50},
      {"a KeyUpdate of two bytes", handshake, "\x18\0\0\2\0\0"s, 0, 50},
      {"a KeyUpdate of 16 MiB", handshake, "\x18\xff"s, 0, 50},
      {"KeyUpdate, and more behind it", handshake, std::string(kUpdate) + std::string(kUpdate), 0, 10},
      {"a new ClientHello", handshake, "\1\0\0\1\0"s, 0, 10},
      {"a certificate that nobody asked for", handshake, "\xb\0\0\4\0\0\0\0"s, 0, 10},
      {"Finished once more", handshake, "\x14\0\0\x20"s + std::string(32, 'x'), 0, 10},
      {"a ticket of the client's", handshake, "\4\0\0\1\0"s, 0, 10},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    Peer p;
    CHECK(p.send(c.type, c.content, c.padding).verdict() == c.verdict);
    if (c.verdict > 0) CHECK(p.layer->failure().starts_with("TLS_error:|"));
    CHECK(p.plain.to_string() == (c.verdict == 0 && c.type == data ? c.content : ""));
  }
}

TEST_CASE(
    "record layer: an error alert of the peer's ends the connection, whatever level it says, and is not "
    "answered") {
  for (char level : {1, 2, 7}) {
    Peer p;
    p.send(alert, {&level, 1});
    CHECK(p.verdict() == 50);
    Peer q;
    q.send(alert, std::string{level, 42});
    CHECK(q.outcome == Outcome::failed);
    CHECK(q.out.empty());
    CHECK(q.layer->failure().find("BAD_CERTIFICATE") != std::string::npos);
  }
}

TEST_CASE("record layer: a message in many records, and nothing between them") {
  Peer p;
  for (char c : kUpdateBoth) CHECK(p.send(handshake, {&c, 1}).verdict() == 0);
  p.writes.renew();
  REQUIRE(p.answers() == std::vector{std::pair(int{handshake}, std::string(kUpdate))});
  CHECK(p.send(data, "with the new key").plain.to_string() == "with the new key");
  for (uint8_t type : {data, alert}) {
    Peer q;
    q.send(handshake, kUpdate.substr(0, 3)).send(type, std::string("\1\0", 2));
    CHECK(q.verdict() == 10);
    CHECK(q.plain.empty());
  }
}

TEST_CASE("record layer: keys go on, each with its own records") {
  Peer p;
  for (int round = 0; round < 20; ++round) {
    p.send(handshake, round % 2 ? kUpdate : kUpdateBoth);
    p.writes.renew();
    CHECK(p.answers().size() == (round % 2 ? 0 : 1));
    p.send(data, "x");
    REQUIRE(p.verdict() == 0);
    Buffer said;
    said.append(p.blocks, "y");
    p.layer->seal(said, 1, p.blocks, p.out);
    CHECK(p.answers() == std::vector{std::pair(int{data}, "y"s)});
  }
  CHECK(p.plain.to_string() == std::string(20, 'x'));
  // A record under the key before.
  Peer q;
  const std::string old = Peer().record(data, "x");
  q.send(handshake, kUpdate).send(old);
  CHECK(q.verdict() == 20);
}

TEST_CASE("record layer: nothing said, again and again") {
  const std::pair<uint8_t, std::string> kinds[] = {{data, ""}, {alert, "\1\x5a"}};
  for (const auto& [type, content] : kinds) {
    Peer p;
    for (int i = 0; i < 32; ++i) REQUIRE(p.send(type, content).verdict() == 0);
    p.send(data, "x");  // something: all that was before is forgotten
    for (int i = 0; i < 32; ++i) REQUIRE(p.send(type, content).verdict() == 0);
    CHECK(p.send(type, content).verdict() == 10);
  }
}

TEST_CASE("record layer: in the clear there is nothing more") {
  for (std::string_view bytes :
       {std::string_view("\x15\3\3\0\2\1\0", 7), std::string_view("\x14\3\3\0\1\1", 6),
        std::string_view("\x16\3\3\0\4\1\0\0\0", 9)}) {
    Peer p;
    CHECK(p.send(bytes).verdict() == 10);
  }
}

TEST_CASE("record layer: a thousand records of a byte come out as one run") {
  Peer p;
  std::string all;
  for (int i = 0; i < 1000; ++i) all += p.record(data, "z");
  CHECK(p.send(all).plain.to_string() == std::string(1000, 'z'));
  CHECK(p.in.empty());
}
