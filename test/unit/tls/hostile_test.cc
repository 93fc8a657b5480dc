#include <fstream>
#include <iterator>

#include "test/unit/tls/raw.h"
#include "test/unit/tls/rig.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

TEST_CASE("tls: key updates are answered, and a flood of them ends the connection") {
  Bed bed;
  bed.fresh();
  Raw client(false);
  client.run(bed, bed.server);
  REQUIRE(bed.server.socket->established());
  for (int i = 0; i < 10; ++i) {
    SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_write(client.ssl, "data", 4);
    client.run(bed, bed.server);
  }
  CHECK(bed.server.status == State::ok);
  CHECK(bed.server.got.size() == 40);
  Buffer plain;
  plain.append(bed.loop.blocks(), "answer");
  bed.server.socket->send(plain, plain.size(), bed.server.out);
  client.run(bed, bed.server);
  CHECK(client.got == "answer");
  for (int i = 0; i < 100 && bed.server.status == State::ok; ++i) {
    SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(client.ssl);
    client.say(bed, bed.server);
  }
  CHECK(bed.server.status == State::failed);
  CHECK(bed.server.socket->failure() ==
        "TLS_error:|268435716:SSL routines:OPENSSL_internal:TOO_MANY_KEY_UPDATES:TLS_error_end");
  CHECK(bed.server.out.size() < 2000);
  CHECK(bed.at_server("connection_error") == 1);
}

TEST_CASE("tls: a client that renegotiates is refused, however often it asks") {
  Bed bed;
  bed.fresh();
  Raw client(false);
  SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
  client.run(bed, bed.server);
  REQUIRE(bed.server.socket->established());
  for (int i = 0; i < 100 && bed.server.status == State::ok; ++i) {
    SSL_renegotiate(client.ssl);
    SSL_do_handshake(client.ssl);
    client.say(bed, bed.server);
  }
  CHECK(bed.server.out.size() < 4000);
  CHECK(bed.at_server("handshake") == 1);
}

TEST_CASE("tls: a server that renegotiates, refused and allowed") {
  for (bool allowed : {false, true}) {
    CAPTURE(allowed);
    Bed bed;
    bed.client_settings.allow_renegotiation = allowed;
    bed.fresh();
    Raw server(true, &bed.server_pair);
    SSL_set_max_proto_version(server.ssl, TLS1_2_VERSION);
    server.run(bed, bed.client);
    REQUIRE(bed.client.socket->established());
    SSL_renegotiate(server.ssl);
    SSL_do_handshake(server.ssl);
    server.say(bed, bed.client);
    // What is to be sent meanwhile waits.
    Buffer plain;
    plain.append(bed.loop.blocks(), "meanwhile");
    bed.client.socket->send(plain, plain.size(), bed.client.out);
    server.run(bed, bed.client);
    if (allowed) {
      CHECK(bed.client.status == State::ok);
      CHECK(server.got == "meanwhile");
    }
    CHECK(bed.at_client("handshake") == 1);
  }
}

TEST_CASE("tls: a ClientHello in records of one byte, and one that never ends") {
  Bed bed;
  bed.fresh();
  const std::string hello = bed.client.out.to_string().substr(5);
  std::string records;
  for (char c : hello) records += std::string("\x16\x03\x01\x00\x01", 5) + c;
  bed.server.in.append(bed.loop.blocks(), records);
  bed.client.out.clear();
  bed.server.receive();
  bed.run();
  CHECK(bed.server.socket->established());

  Bed endless;
  endless.fresh();
  std::string start("\x16\x03\x01\x40\x00\x01\xff\xff\xff", 9);  // a ClientHello of 16 MB
  endless.server.in.append(endless.loop.blocks(), start + std::string(0x4000 - 4, '\0'));
  endless.server.receive();
  CHECK(endless.server.status == State::failed);
  CHECK_MESSAGE(endless.server.socket->failure().find("EXCESSIVE_MESSAGE_SIZE") != std::string::npos,
                endless.server.socket->failure());
}

TEST_CASE("tls: a record that was tampered with") {
  Bed bed;
  REQUIRE(bed.connect());
  Buffer plain;
  plain.append(bed.loop.blocks(), "truth");
  bed.client.socket->send(plain, plain.size(), bed.client.out);
  std::string wire = bed.client.out.to_string();
  bed.client.out.clear();
  wire.back() ^= 1;
  bed.server.in.append(bed.loop.blocks(), wire);
  bed.server.receive();
  CHECK(bed.server.status == State::failed);
  CHECK(bed.server.got.empty());
  CHECK(
      bed.server.socket->failure() ==
      "TLS_error:|268435595:SSL routines:OPENSSL_internal:DECRYPTION_FAILED_OR_BAD_RECORD_MAC:TLS_error_end");
  bed.run();
  CHECK(bed.client.socket->failure() ==
        "TLS_error:|268436476:SSL routines:OPENSSL_internal:SSLV3_ALERT_BAD_RECORD_MAC:TLS_error_end");
}

TEST_CASE("tls: no version, no cipher in common") {
  Bed bed;
  bed.server_settings.min_version = Version::tls13;
  bed.client_settings.max_version = Version::tls12;
  CHECK(!bed.connect());
  CHECK(bed.server.socket->failure() ==
        "TLS_error:|268435696:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL:TLS_error_end");
  CHECK(bed.client.socket->failure() ==
        "TLS_error:|268436526:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION:TLS_error_end");
  CHECK(bed.at_server("connection_error") == 1);

  Bed other;
  other.server_settings.max_version = Version::tls12;
  other.server_settings.cipher_suites = {"ECDHE-ECDSA-AES256-GCM-SHA384"};
  other.client_settings.cipher_suites = {"ECDHE-ECDSA-AES128-GCM-SHA256"};
  CHECK(!other.connect());
  CHECK(other.server.socket->failure() ==
        "TLS_error:|268435640:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER:TLS_error_end");
}

TEST_CASE("tls: an error of one connection is not another's") {
  Bed bed;
  bed.fresh();
  End bad = std::move(bed.server);
  bad.in.append(bed.loop.blocks(), "GET / HTTP/1.0\r\n\r\n");
  bad.receive();
  CHECK(bad.status == State::failed);
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);  // what somebody has left behind
  CHECK(bed.connect());
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
  bed.send(bed.client, "fine");
  CHECK(bed.server.got == "fine");
}

TEST_CASE("tls: secrets in a file for debugging, where the addresses fit") {
  const std::string path = "/tmp/sluice-tls-test-keylog-" + std::to_string(getpid());
  Bed bed;
  bed.server_settings.key_log.path = path;
  bed.server_settings.key_log.local = {*Cidr::parse("10.0.0.0/8")};
  auto lines = [&] {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const Address inside = *Address::parse("10.1.1.1:443"), outside = *Address::parse("11.1.1.1:443");
  for (const Address* a : {static_cast<const Address*>(nullptr), &outside, &inside}) {
    bed.fresh();
    bed.server.socket = bed.server_context->accept(
        {.loop = bed.loop, .stats = bed.server_stats, .local = a, .remote = nullptr});
    bed.run();
    REQUIRE(bed.server.socket->established());
    CHECK(lines().empty() == (a != &inside));
  }
  CHECK(lines().find("SERVER_TRAFFIC_SECRET_0 ") != std::string::npos);
  CHECK(lines().back() == '\n');
  unlink(path.c_str());
}
