#include "test/unit/tls/raw.h"
#include "test/unit/tls/rig.h"
#include "tls/ticket_ring.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

namespace {

std::shared_ptr<const TicketKeys> keys(std::initializer_list<char> letters) {
  TicketKeys k;
  for (char c : letters) k.keys.push_back(std::string(80, c));
  return shared(std::move(k));
}

bool resumed(Bed& bed) {
  REQUIRE_MESSAGE(bed.connect(), bed.server.socket->failure() << bed.client.socket->failure());
  bed.send(bed.client, "ping");
  bed.send(bed.server, "pong");
  CHECK(bed.server.got == "ping");
  CHECK(bed.client.got == "pong");
  const bool r = bed.client.socket->tls_info()->resumed();
  CHECK(bed.server.socket->tls_info()->resumed() == r);
  return r;
}

}  // namespace

TEST_CASE("tls resumption: both versions, by ticket") {
  for (Version v : {Version::tls12, Version::tls13}) {
    CAPTURE(static_cast<int>(v));
    Bed bed;
    bed.client_settings.max_version = v;
    CHECK(!resumed(bed));
    CHECK(resumed(bed));
    CHECK(resumed(bed));
    CHECK(bed.at_server("session_reused") == 2);
    CHECK(bed.at_client("session_reused") == 2);
    CHECK(bed.at_server("handshake") == 3);
    auto info = bed.client.socket->tls_info();
    CHECK(info->peer_validated());
    CHECK(info->peer()->subject == "CN=server");
    CHECK(info->server_name() == "server.example");
    CHECK(bed.server.socket->tls_info()->server_name() == "server.example");
  }
}

TEST_CASE("tls resumption: TLS 1.2 by the server's cache, where there are no tickets") {
  Bed bed;
  bed.client_settings.max_version = Version::tls12;
  bed.server_settings.tickets = false;
  CHECK(!resumed(bed));
  CHECK(resumed(bed));
  bed.server_settings.session_cache = false;
  bed.server_context = nullptr;
  CHECK(!resumed(bed));
  CHECK(!resumed(bed));
}

TEST_CASE("tls resumption: TLS 1.3 gives no tickets where they are disabled") {
  Bed bed;
  bed.server_settings.tickets = false;
  CHECK(!resumed(bed));
  CHECK(!resumed(bed));
}

TEST_CASE("tls resumption: none where the client keeps none") {
  Bed bed;
  bed.client_settings.max_session_keys = 0;
  CHECK(!resumed(bed));
  CHECK(!resumed(bed));
}

TEST_CASE(
    "tls resumption: another worker of the configuration takes the ticket; a fresh key does too, as long as "
    "it knows the old") {
  for (Version v : {Version::tls12, Version::tls13}) {
    Bed bed;
    bed.client_settings.max_version = v;
    bed.server_secrets.tickets = keys({'a'});
    CHECK(!resumed(bed));
    bed.server_context = nullptr;  // another worker's
    CHECK(resumed(bed));
    bed.server_secrets.tickets = keys({'b', 'a'});
    bed.server_context = nullptr;
    CHECK(resumed(bed));  // and its new ticket is under 'b'
    bed.server_secrets.tickets = keys({'b'});
    bed.server_context = nullptr;
    CHECK(resumed(bed));
    bed.server_secrets.tickets = keys({'c'});
    bed.server_context = nullptr;
    CHECK(!resumed(bed));
  }
}

TEST_CASE("tls resumption: the process's own keys serve all contexts, and go after two days") {
  Bed bed;
  CHECK(!resumed(bed));
  bed.server_context = nullptr;
  CHECK(resumed(bed));
  bed.server_settings.session_timeout = std::chrono::hours(24 * 30);
  bed.loop.wall += std::chrono::hours(1);
  CHECK(resumed(bed));
  const TicketRingPtr first = process_tickets(bed.loop.wall);
  bed.loop.wall += std::chrono::hours(25);
  CHECK(process_tickets(bed.loop.wall) != first);
}

TEST_CASE("tls resumption: never across peers, identities or what they were verified for") {
  Bed bed;
  CHECK(!resumed(bed));
  bed.options.session_key = "another";
  CHECK(!resumed(bed));
  bed.options.session_key = "peer";
  bed.options.verify_names = {"server.example"};
  CHECK(!resumed(bed));
  bed.options.verify_names = {};
  bed.options.server_name = "other.example";
  CHECK(!resumed(bed));
}

TEST_CASE("tls resumption: not into a configuration that asks more of its clients") {
  for (Version v : {Version::tls12, Version::tls13}) {
    Bed bed;
    bed.client_settings.max_version = v;
    bed.client_secrets.certificates = {certificate(bed.ca.issue({.common_name = "client"}))};
    CHECK(!resumed(bed));
    CHECK(resumed(bed));
    bed.server_secrets.validation = trusting(bed.ca);
    bed.server_settings.require_client_certificate = true;
    bed.server_context = nullptr;
    CHECK(!resumed(bed));
    CHECK(bed.server.socket->tls_info()->peer_validated());
    CHECK(resumed(bed));
    auto info = bed.server.socket->tls_info();
    CHECK(info->peer_validated());
    REQUIRE(info->peer());
    CHECK(info->peer()->subject == "CN=client");
  }
}

TEST_CASE("tls resumption: a client whose certificate has expired since goes through everything again") {
  for (Version v : {Version::tls12, Version::tls13}) {
    for (bool tickets : {true, false}) {
      if (!tickets && v == Version::tls13) continue;
      CAPTURE(tickets);
      Bed bed;
      bed.client_settings.max_version = v;
      bed.server_settings.tickets = tickets;
      bed.client_secrets.certificates = {
          certificate(bed.ca.issue({.common_name = "client", .ends = std::chrono::seconds(60)}))};
      bed.server_secrets.validation = trusting(bed.ca);
      bed.server_settings.require_client_certificate = true;
      CHECK(!resumed(bed));
      CHECK(resumed(bed));
      bed.loop.wall += std::chrono::seconds(61);
      CHECK(!bed.connect());
      CHECK(bed.server.socket->failure().find("certificate has expired") != std::string::npos);
      CHECK(bed.at_server("fail_verify_error") == 1);
    }
  }
}

TEST_CASE("tls resumption: a chain with intermediates is verified again, and shown") {
  for (Version v : {Version::tls12, Version::tls13}) {
    Bed bed;
    bed.client_settings.max_version = v;
    TestCa below = bed.ca.intermediate("Intermediate");
    bed.client_secrets.certificates = {certificate(below.issue({.common_name = "client"}))};
    bed.server_secrets.validation = trusting(bed.ca);
    bed.server_settings.require_client_certificate = true;
    CHECK(!resumed(bed));
    CHECK(bed.server.socket->tls_info()->peer_chain_serials().size() == 2);
    CHECK(resumed(bed));
    CHECK(bed.server.socket->tls_info()->peer()->subject == "CN=client");
  }
}

TEST_CASE("tls resumption: a server whose certificate has expired since is asked for it again") {
  Bed bed;
  bed.server_secrets.certificates = {certificate(bed.ca.issue(
      {.common_name = "server", .sans = {"DNS:server.example"}, .ends = std::chrono::seconds(60)}))};
  CHECK(!resumed(bed));
  CHECK(resumed(bed));
  bed.loop.wall += std::chrono::seconds(61);
  CHECK(!bed.connect());
  CHECK(bed.client.socket->failure().find("certificate has expired") != std::string::npos);
}

TEST_CASE("tls resumption: at most max_session_keys are kept; one of TLS 1.3 is used once") {
  Bed bed;
  bed.client_settings.max_session_keys = 1;
  CHECK(!resumed(bed));
  // Two connections at once: there is one ticket.
  bed.fresh();
  End first_client = std::move(bed.client), first_server = std::move(bed.server);
  CHECK(!resumed(bed));
  std::swap(first_client, bed.client);
  std::swap(first_server, bed.server);
  bed.run();
  CHECK(bed.client.socket->tls_info()->resumed());
}
