#include <malloc.h>

#include "test/unit/tls/rig.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

namespace {

const Version kVersions[] = {Version::tls10, Version::tls11, Version::tls12, Version::tls13};
const char* const kNames[] = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};

}  // namespace

TEST_CASE("tls: a handshake and data both ways") {
  Bed bed;
  REQUIRE(bed.connect());
  bed.send(bed.client, "hello");
  CHECK(bed.server.got == "hello");
  bed.send(bed.server, "world");
  CHECK(bed.client.got == "world");
  CHECK(bed.at_server("handshake") == 1);
  CHECK(bed.at_client("handshake") == 1);
  CHECK(bed.at_server("no_certificate") == 1);
  CHECK(bed.at_client("no_certificate") == 0);
  CHECK(bed.at_server("versions.TLSv1.3") == 1);
  CHECK(bed.at_server("ciphers.TLS_AES_128_GCM_SHA256") == 1);
  CHECK(bed.at_client("curves.X25519") == 1);
  CHECK(bed.at_client("sigalgs.ecdsa_secp256r1_sha256") == 1);
  auto info = bed.client.socket->tls_info();
  REQUIRE(info);
  CHECK(info->version() == "TLSv1.3");
  CHECK(info->cipher() == "TLS_AES_128_GCM_SHA256");
  CHECK(info->cipher_id() == 0x1301);
  CHECK(info->peer_validated());
  REQUIRE(info->peer());
  CHECK(info->peer()->subject == "CN=server");
  CHECK(info->peer()->issuer == "CN=Test CA");
  CHECK(info->peer()->dns_sans == std::vector<std::string>{"server.example"});
  CHECK(info->local() == nullptr);
  CHECK(info->server_name() == "server.example");
  auto at_server = bed.server.socket->tls_info();
  CHECK(at_server->server_name() == "server.example");
  CHECK(at_server->peer() == nullptr);
  CHECK(!at_server->peer_validated());
  REQUIRE(at_server->local());
  CHECK(at_server->local()->subject == "CN=server");
}

TEST_CASE("tls: every version") {
  for (size_t v = 0; v < 4; ++v) {
    CAPTURE(kNames[v]);
    Bed bed;
    bed.server_settings.min_version = bed.client_settings.min_version = kVersions[v];
    bed.client_settings.max_version = kVersions[v];
    if (v < 2) {
      bed.server_settings.cipher_suites = bed.client_settings.cipher_suites = {"ECDHE-ECDSA-AES128-SHA"};
    }
    REQUIRE_MESSAGE(bed.connect(), bed.server.socket->failure() << bed.client.socket->failure());
    bed.send(bed.client, "ping");
    bed.send(bed.server, "pong");
    CHECK(bed.server.got == "ping");
    CHECK(bed.client.got == "pong");
    CHECK(bed.server.socket->tls_info()->version() == kNames[v]);
    CHECK(bed.at_server(std::string("versions.") + kNames[v]) == 1);
  }
}

TEST_CASE("tls: one megabyte both ways, in pieces of any size") {
  std::string text;
  for (int i = 0; text.size() < 1 << 20; ++i) text += std::to_string(i) + ' ';
  for (size_t piece : {size_t{1}, size_t{7}, size_t{16384}, SIZE_MAX}) {
    CAPTURE(piece);
    Bed bed;
    bed.piece = piece;
    REQUIRE(bed.connect());
    const std::string_view part = std::string_view(text).substr(0, piece < 100 ? 50'000 : text.size());
    bed.send(bed.client, part);
    bed.send(bed.server, part);
    CHECK(bed.server.got == part);
    CHECK(bed.client.got == part);
  }
}

TEST_CASE("tls: no block is left behind") {
  ClockLoop* loop = nullptr;
  Bed bed;
  loop = &bed.loop;
  REQUIRE(bed.connect());
  bed.send(bed.client, std::string(100'000, 'x'));
  CHECK(loop->blocks().outstanding() == 0);
}

TEST_CASE("tls: close_notify each way by itself") {
  Bed bed;
  REQUIRE(bed.connect());
  bed.client.socket->end(bed.client.out);
  bed.run();
  CHECK(bed.server.status == State::ended);
  bed.send(bed.server, "still here");
  CHECK(bed.client.got == "still here");
  CHECK(bed.client.status == State::ok);
  bed.server.socket->end(bed.server.out);
  bed.run();
  CHECK(bed.client.status == State::ended);
}

TEST_CASE("tls: a FIN without close_notify ends the stream as well") {
  Bed bed;
  REQUIRE(bed.connect());
  bed.send(bed.client, "last words");
  bed.server.eof = true;
  bed.server.receive();
  CHECK(bed.server.status == State::ended);
  CHECK(bed.server.got == "last words");
  CHECK(bed.server.socket->failure().empty());
}

TEST_CASE("tls: a FIN within the handshake fails it, and counts nothing") {
  Bed bed;
  bed.fresh();
  bed.server.eof = true;
  bed.server.receive();
  CHECK(bed.server.status == State::failed);
  CHECK(bed.at_server("connection_error") == 0);
}

TEST_CASE("tls: ALPN by the server's preference; nothing in common goes on without") {
  Bed bed;
  bed.server_settings.alpn = {"h2", "http/1.1"};
  bed.client_settings.alpn = {"http/1.1", "h2"};
  REQUIRE(bed.connect());
  CHECK(bed.server.socket->application_protocol() == "h2");
  CHECK(bed.client.socket->application_protocol() == "h2");
  CHECK(bed.client.socket->tls_info()->alpn() == "h2");
  bed.options.alpn = {"http/1.1"};
  REQUIRE(bed.connect());
  CHECK(bed.server.socket->application_protocol() == "http/1.1");
  bed.options.alpn = {"istio"};
  REQUIRE(bed.connect());
  CHECK(bed.server.socket->application_protocol() == "");
  CHECK(bed.client.socket->application_protocol() == "");
}

TEST_CASE("tls: the fallback of ALPN counts where nothing else says any") {
  Bed bed;
  bed.server_settings.alpn = {"h2", "http/1.1"};
  bed.options.alpn_fallback = {"http/1.1"};
  REQUIRE(bed.connect());
  CHECK(bed.client.socket->application_protocol() == "http/1.1");
  bed.client_settings.alpn = {"h2"};
  bed.client_context = nullptr;
  REQUIRE(bed.connect());
  CHECK(bed.client.socket->application_protocol() == "h2");
}

TEST_CASE("tls: garbage is not TLS") {
  struct Case {
    std::string bytes, text;
  };
  for (const Case& c :
       {Case{"GET / HTTP/1.1\r\n\r\n", "268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST"},
        Case{std::string(64, 'z'), "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"},
        Case{std::string("\x16\x03\x01\xff\xff", 5) + "x", "ENCRYPTED_LENGTH_TOO_LONG"}}) {
    Bed bed;
    bed.fresh();
    bed.server.in.append(bed.loop.blocks(), c.bytes);
    bed.server.receive();
    CHECK(bed.server.status == State::failed);
    CHECK_MESSAGE(bed.server.socket->failure().find(c.text) != std::string::npos,
                  bed.server.socket->failure());
    CHECK(bed.at_server("connection_error") == 1);
  }
}

TEST_CASE("tls: an idle connection is small") {
#if defined(__SANITIZE_ADDRESS__) || (defined(__has_feature) && __has_feature(address_sanitizer))
  return;  // another allocator
#endif
  constexpr size_t kConnections = 200;
  Bed bed;
  REQUIRE(bed.connect());
  std::vector<End> servers(kConnections), clients(kConnections);
  // The server's end alone is looked at: the client's goes away each time.
  const size_t before = mallinfo2().uordblks;
  for (size_t i = 0; i < kConnections; ++i) {
    REQUIRE(bed.connect());
    bed.send(bed.client, "ping");
    servers[i].socket = std::move(bed.server.socket);
    bed.client.socket.reset();
  }
  const size_t each = (mallinfo2().uordblks - before) / kConnections;
  MESSAGE("bytes of an idle server connection: " << each);
  CHECK(each < 6000);
}
