#include "test/unit/tls/rig.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

namespace {

constexpr std::string_view kFailed =
    "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:";

SanMatcher exact(SanMatcher::Type type, std::string text) {
  return {
      .type = type,
      .oid = "",
      .matcher = {
          .kind = StringMatcher::Kind::exact, .text = std::move(text), .ignore_case = false, .regex = {}}};
}

// A client that shows `pair` to a server that asks for `validation`.
struct Mutual : Bed {
  Validation v;
  explicit Mutual(const CertificateOptions& o = {.common_name = "client",
                                                 .sans = {"URI:spiffe://td/ns/a/sa/b"}}) {
    v = *trusting(ca);
    pair = ca.issue(o);
    server_settings.require_client_certificate = true;
  }
  PemPair pair;
  bool go() {
    server_secrets.validation = shared(v);
    client_secrets.certificates = {certificate(pair)};
    return connect();
  }
  std::string text() { return server.socket->failure(); }
};

}  // namespace

TEST_CASE("tls verify: a client's certificate by the CA") {
  Mutual m;
  REQUIRE_MESSAGE(m.go(), m.text());
  auto info = m.server.socket->tls_info();
  CHECK(info->peer_validated());
  REQUIRE(info->peer());
  CHECK(info->peer()->uri_sans == std::vector<std::string>{"spiffe://td/ns/a/sa/b"});
  CHECK(info->peer_chain_pem().size() == 1);
  CHECK(info->peer()->pem == m.pair.certificate);
  CHECK(m.at_server("no_certificate") == 0);
}

TEST_CASE("tls verify: no certificate where one is required") {
  Mutual m;
  m.server_secrets.validation = shared(m.v);
  m.fresh();
  m.run();
  CHECK(m.text() ==
        "TLS_error:|268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not "
        "provide "
        "required client certificate:TLS_error_end");
  CHECK(m.at_server("fail_verify_no_cert") == 1);
  CHECK(m.at_server("connection_error") == 0);
}

TEST_CASE("tls verify: a certificate of another CA, in both directions") {
  Mutual m;
  TestCa other("Other CA", m.loop.wall);
  m.pair = other.issue({.common_name = "client"});
  CHECK(!m.go());
  CHECK(m.text() ==
        std::string(kFailed) +
            "verify cert failed: X509_verify_cert: certificate verification error at depth 0: unable to get "
            "local issuer certificate:TLS_error_end");
  CHECK(m.at_server("fail_verify_error") == 1);
  CHECK(m.at_server("connection_error") == 0);
  // The client has finished before, in TLS 1.3, and learns of it by an alert.
  CHECK(m.client.status == State::failed);
  CHECK(m.client.socket->failure() ==
        "TLS_error:|268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end");

  Bed bed;
  bed.server_secrets.certificates = {certificate(other.issue({.common_name = "server"}))};
  CHECK(!bed.connect());
  CHECK(bed.client.socket->failure().starts_with(kFailed));
  CHECK(bed.at_client("fail_verify_error") == 1);
  CHECK(bed.server.socket->failure() ==
        "TLS_error:|268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end");
  CHECK(bed.at_server("connection_error") == 1);
}

TEST_CASE("tls verify: an expired certificate, by the loop's clock") {
  Mutual m;
  m.pair = m.ca.issue({.common_name = "client", .ends = std::chrono::seconds(60)});
  REQUIRE(m.go());
  m.loop.wall += std::chrono::seconds(61);
  CHECK(!m.connect());
  CHECK(m.text().find("at depth 0: certificate has expired") != std::string::npos);
  m.v.allow_expired = true;
  m.server_context = nullptr;
  CHECK_MESSAGE(m.go(), m.text());
}

TEST_CASE("tls verify: names by their kind") {
  using Type = SanMatcher::Type;
  struct Case {
    Type type;
    std::string text;
    bool fits;
  };
  const Case cases[] = {
      {Type::uri, "spiffe://td/ns/a/sa/b", true},
      {Type::uri, "spiffe://td/ns/a/sa/c", false},
      {Type::dns, "a.example", true},
      {Type::dns, "A.EXAMPLE", true},
      {Type::dns, "x.wild.example", true},
      {Type::dns, "x.y.wild.example", false},
      {Type::dns, "wild.example", false},
      {Type::ip, "10.1.2.3", true},
      {Type::ip, "2001:db8::1", true},
      {Type::ip, "10.1.2.4", false},
      {Type::email, "a@b.example", true},
      {Type::dns, "10.1.2.3", false},
      {Type::uri, "a.example", false},
      {Type::any, "a@b.example", true},
      {Type::any, "10.1.2.3", true},
      {Type::any, "nobody", false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    Mutual m({.common_name = "c",
              .sans = {"URI:spiffe://td/ns/a/sa/b", "DNS:a.example", "DNS:*.wild.example", "IP:10.1.2.3",
                       "IP:2001:db8::1", "email:a@b.example"}});
    m.v.sans = {exact(c.type, c.text)};
    CHECK(m.go() == c.fits);
    CHECK(m.at_server("fail_verify_san") == !c.fits);
    if (!c.fits)
      CHECK(m.text().starts_with(
          std::string(kFailed) +
          "verify cert failed: SAN matcher, certificate SANs are [spiffe://td/ns/a/sa/b, a.example, "
          "*.wild.example, 10.1.2.3, 2001:db8::1, a@b.example]"));
  }
}
