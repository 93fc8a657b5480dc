#include "tls/record_layer.h"

#include <openssl/ssl.h>

#include <array>
#include <random>

#include "test/unit/tls/rig.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

namespace {

using Outcome = RecordLayer::Outcome;

// Two ends of a connection that never shook hands.
struct Layers {
  explicit Layers(uint16_t suite) {
    const size_t size = suite == 0x1302 ? 48 : 32;
    for (size_t i = 0; i < 48; ++i) {
      a[i] = static_cast<uint8_t>(i);
      b[i] = static_cast<uint8_t>(200 - i);
    }
    one = RecordLayer::make({suite, {a.data(), size}, {b.data(), size}, 0});
    two = RecordLayer::make({suite, {b.data(), size}, {a.data(), size}, 0});
    REQUIRE(one);
    REQUIRE(two);
  }
  std::array<uint8_t, 48> a, b;
  std::unique_ptr<RecordLayer> one, two;
  BlockPool blocks;
};

void append(BlockPool& blocks, Buffer& to, std::string_view bytes, size_t piece) {
  while (!bytes.empty()) {
    const size_t n = std::min({piece, bytes.size(), size_t{BlockPool::kSmall}});
    Block* block = blocks.get(static_cast<uint32_t>(n));
    std::memcpy(block->data, bytes.data(), n);
    to.append(Chunk(block, 0, static_cast<uint32_t>(n)));
    bytes.remove_prefix(n);
  }
}

// A client that is the library's own.
struct Library {
  explicit Library(Bed& bed) : ctx(SSL_CTX_new(TLS_client_method())), ssl(SSL_new(ctx.get())) {
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl.get());
    bed.make_server();
    server.socket = bed.server_context->accept({.loop = bed.loop, .stats = bed.server_stats});
  }
  // What the client has written goes to the server, what that answers to the client.
  void carry(Bed& bed) {
    for (bool moved = true; moved;) {
      char bytes[4096];
      moved = false;
      for (int n; (n = BIO_read(SSL_get_wbio(ssl.get()), bytes, sizeof(bytes))) > 0; moved = true) {
        server.in.append(bed.loop.blocks(), {bytes, static_cast<size_t>(n)});
        server.receive();
      }
      const std::string back = server.out.to_string();
      server.out.clear();
      if (!back.empty()) {
        moved = true;
        BIO_write(SSL_get_rbio(ssl.get()), back.data(), static_cast<int>(back.size()));
      }
      read();
    }
  }
  void read() {
    char bytes[20000];
    size_t n = 0;
    while (SSL_read_ex(ssl.get(), bytes, sizeof(bytes), &n) == 1) got.append(bytes, n);
  }
  void say(Bed& bed, std::string_view text) {
    size_t n = 0;
    REQUIRE(SSL_write_ex(ssl.get(), text.data(), text.size(), &n) == 1);
    carry(bed);
  }
  void hear(Bed& bed, std::string_view text) {
    Buffer plain;
    plain.append(bed.loop.blocks(), text);
    server.socket->send(plain, plain.size(), server.out);
    carry(bed);
  }
  SslCtxPtr ctx;
  SslPtr ssl;
  End server;
  std::string got;
};

}  // namespace

TEST_CASE("record layer: every suite, bytes in pieces of any size") {
  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (uint16_t suite : {0x1301, 0x1302, 0x1303}) {
    Layers l(suite);
    for (int round = 0; round < 40; ++round) {
      std::string text(random() % (round % 4 == 0 ? 400'000 : 3000), 0);
      for (char& c : text) c = static_cast<char>(random());
      Buffer plain, wire, in, got, out;
      append(l.blocks, plain, text, 1 + random() % 5000);
      l.one->seal(plain, text.size(), l.blocks, wire);
      CHECK(plain.empty());
      const std::string sealed = wire.to_string();
      CHECK(sealed.size() >= text.size() + (text.empty() ? 0 : 22));
      // Some at first, the rest later, in chunks that know nothing of records.
      const size_t first = sealed.empty() ? 0 : random() % sealed.size();
      append(l.blocks, in, sealed.substr(0, first), 1 + random() % 3000);
      REQUIRE(l.two->open(in, got, l.blocks, out) == Outcome::ok);
      append(l.blocks, in, sealed.substr(first), 1 + random() % 3000);
      REQUIRE(l.two->open(in, got, l.blocks, out) == Outcome::ok);
      CHECK(in.empty());
      CHECK(out.empty());
      CHECK(got.to_string() == text);
    }
  }
}

TEST_CASE("record layer: what was tampered with, lost or said twice is no record") {
  for (uint16_t suite : {0x1301, 0x1302, 0x1303}) {
    for (size_t at = 0; at < 5 + 5 + 17; ++at) {
      Layers l(suite);
      Buffer plain, wire, in, got, out;
      plain.append(l.blocks, "hello");
      l.one->seal(plain, 5, l.blocks, wire);
      std::string sealed = wire.to_string();
      sealed[at] ^= 1;
      in.append(l.blocks, sealed + std::string(300, 'x'));
      CHECK(l.two->open(in, got, l.blocks, out) == Outcome::failed);
      CHECK(got.empty());
      CHECK(l.two->failure().starts_with("TLS_error:|"));
      // The alert reaches the other end.
      CHECK(l.one->open(out, got, l.blocks, wire) == Outcome::failed);
      CHECK(l.one->failure().find("ALERT") != std::string::npos);
    }
    Layers l(suite);
    Buffer plain, wire, in, got, out;
    plain.append(l.blocks, "hello");
    l.one->seal(plain, 5, l.blocks, wire);
    const std::string sealed = wire.to_string();
    in.append(l.blocks, sealed + sealed);
    CHECK(l.two->open(in, got, l.blocks, out) == Outcome::failed);
    CHECK(got.to_string() == "hello");
  }
}

TEST_CASE("record layer: a header that no record has is refused before its bytes are there") {
  for (std::string_view header :
       {std::string_view("\x17\x03\x03\x41\x01", 5), std::string_view("\x17\x03\x03\x00\x10", 5),
        std::string_view("\x16\x03\x03\x00\x20", 5), std::string_view("GET /", 5)}) {
    Layers l(0x1301);
    Buffer in, got, out;
    in.append(l.blocks, header);
    CHECK(l.two->open(in, got, l.blocks, out) == Outcome::failed);
    CHECK_FALSE(out.empty());
  }
}

TEST_CASE("record layer: close_notify ends") {
  Layers l(0x1303);
  Buffer wire, got, out;
  l.one->close_notify(l.blocks, wire);
  CHECK(l.two->open(wire, got, l.blocks, out) == Outcome::ended);
  CHECK(got.empty());
}

TEST_CASE("record layer: the library's client, keys renewed by either wish") {
  Bed bed;
  Library client(bed);
  client.carry(bed);
  SSL_do_handshake(client.ssl.get());
  client.carry(bed);
  REQUIRE(client.server.socket->established());
  for (int round = 0; round < 5; ++round) {
    client.say(bed, "to the server ");
    client.hear(bed, "to the client ");
    REQUIRE(SSL_key_update(client.ssl.get(),
                           round % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
  }
  CHECK(client.server.got == "to the server to the server to the server to the server to the server ");
  CHECK(client.got == "to the client to the client to the client to the client to the client ");
  CHECK(client.server.status == State::ok);
  SSL_do_handshake(client.ssl.get());  // the last renewal
  SSL_shutdown(client.ssl.get());
  client.carry(bed);
  CHECK(client.server.status == State::ended);
  client.hear(bed, "still heard");
  CHECK(client.got.ends_with("still heard"));
  client.server.socket->end(client.server.out);
  client.carry(bed);
  CHECK(SSL_get_shutdown(client.ssl.get()) == (SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN));
}

TEST_CASE("record layer: key updates without end are an attack") {
  Bed bed;
  Library client(bed);
  client.carry(bed);
  SSL_do_handshake(client.ssl.get());
  client.carry(bed);
  REQUIRE(client.server.socket->established());
  int rounds = 0;
  while (client.server.status == State::ok && rounds < 100) {
    ++rounds;
    SSL_key_update(client.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(client.ssl.get());
    client.carry(bed);
  }
  CHECK(rounds == 33);
  CHECK(client.server.status == State::failed);
  CHECK(client.server.socket->failure() ==
        "TLS_error:|268435716:SSL routines:OPENSSL_internal:TOO_MANY_KEY_UPDATES:TLS_error_end");
}

TEST_CASE("record layer: secrets are taken from the key log's lines alone that have them") {
  TrafficSecrets s;
  s.note("CLIENT_HANDSHAKE_TRAFFIC_SECRET 00 11");
  s.note("CLIENT_TRAFFIC_SECRET_0 00 0102");
  CHECK_FALSE(s.complete());
  s.note("SERVER_TRAFFIC_SECRET_0 00 0g02");
  CHECK_FALSE(s.complete());
  s.note("SERVER_TRAFFIC_SECRET_0 00 0A0b");
  REQUIRE(s.complete());
  CHECK(s.client()[1] == 2);
  CHECK(s.server()[0] == 10);
}
