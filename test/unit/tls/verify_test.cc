#include "test/unit/tls/raw.h"
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

TEST_CASE("tls verify: names by pattern, and other names by their OID") {
  Mutual m(
      {.common_name = "c", .sans = {"URI:spiffe://td/ns/a/sa/b", "otherName:1.2.3.4;UTF8:secret agent"}});
  SanMatcher s = exact(SanMatcher::Type::uri, "spiffe://td/ns/a/");
  s.matcher.kind = StringMatcher::Kind::prefix;
  m.v.sans = {s};
  CHECK(m.go());
  SanMatcher other = exact(SanMatcher::Type::other_name, "secret agent");
  other.oid = "1.2.3.4";
  m.v.sans = {other};
  m.server_context = nullptr;
  CHECK_MESSAGE(m.go(), m.text());
  m.v.sans[0].oid = "1.2.3.5";
  m.server_context = nullptr;
  CHECK(!m.go());
}

TEST_CASE("tls verify: pinned certificates and keys") {
  Mutual m;
  m.v.certificate_hashes = {std::string(32, 'x')};
  CHECK(!m.go());
  CHECK(m.text() == std::string(kFailed) + "verify cert failed: cert hash and spki:TLS_error_end");
  CHECK(m.at_server("fail_verify_cert_hash") == 1);
  m.v.certificate_hashes.push_back(sha256_of_certificate(m.pair));
  m.server_context = nullptr;
  CHECK(m.go());
  m.v.certificate_hashes = {};
  m.v.spki_hashes = {sha256_of_public_key(m.pair)};
  m.v.trusted_ca = "";  // a pinned key needs no CA
  m.server_context = nullptr;
  CHECK(m.go());
  CHECK(m.server.socket->tls_info()->peer_validated());
}

TEST_CASE("tls verify: revoked certificates") {
  Mutual m;
  m.v.crl = m.ca.crl({m.pair.serial});
  CHECK(!m.go());
  CHECK(m.text().find("provided CRLs failed: certificate revoked") != std::string::npos);
  m.v.crl = m.ca.crl({m.pair.serial + 1});
  m.server_context = nullptr;
  CHECK_MESSAGE(m.go(), m.text());

  // Below an intermediate whose CRL is not there: an error, unless the leaf alone is looked at.
  TestCa below = m.ca.intermediate("Intermediate");
  m.pair = below.issue({.common_name = "client"});
  m.v.crl = below.crl({});
  m.server_context = nullptr;
  m.client_context = nullptr;
  CHECK(!m.go());
  CHECK(m.text().find("unable to get certificate CRL") != std::string::npos);
  m.v.only_verify_leaf_crl = true;
  m.server_context = nullptr;
  CHECK_MESSAGE(m.go(), m.text());
}

TEST_CASE("tls verify: untrusted certificates that are let in all the same are not validated") {
  Mutual m;
  m.server_settings.require_client_certificate = false;
  m.pair = TestCa("Other CA", m.loop.wall).issue({.common_name = "client"});
  m.v.accept_untrusted = true;
  for (int i = 0; i < 2; ++i) {  // a full handshake, and a resumed one
    CHECK_MESSAGE(m.go(), m.text());
    CHECK(m.server.socket->tls_info()->resumed() == (i == 1));
    CHECK(!m.server.socket->tls_info()->peer_validated());
    CHECK(m.server.socket->tls_info()->peer()->subject == "CN=client");
  }
  CHECK(m.at_server("fail_verify_error") >= 1);
}

TEST_CASE("tls verify: chains as deep as allowed") {
  Mutual m;
  TestCa below = m.ca.intermediate("Intermediate");
  m.pair = below.issue({.common_name = "client"});
  m.v.max_verify_depth = 1;  // the leaf and the anchor
  CHECK(!m.go());
  m.v.max_verify_depth = 2;
  m.server_context = nullptr;
  CHECK_MESSAGE(m.go(), m.text());
  auto info = m.server.socket->tls_info();
  CHECK(info->peer_chain_pem().size() == 2);
  CHECK(info->peer_chain_sha256().size() == 2);
  CHECK(info->peer_chain_sha256()[0] == info->peer()->sha256);
  // The same whether the chain is asked for before the certificate or after it, in a resumed connection and in a new one.
  for (const char* session : {"peer", "another"}) {
    m.options.session_key = session;
    CHECK(m.connect());
    auto other = m.server.socket->tls_info();
    CHECK(other->resumed() == (session == std::string_view("peer")));
    REQUIRE(other->peer());
    CHECK(other->peer_validated());
    CHECK(other->peer_chain_pem() == info->peer_chain_pem());
    CHECK(other->peer_chain_sha1() == info->peer_chain_sha1());
    CHECK(other->peer_chain_serials() == info->peer_chain_serials());
    CHECK(other->peer_chain_sha256() == info->peer_chain_sha256());
  }
}

TEST_CASE("tls verify: a certificate for servers alone is none of a client") {
  Mutual m({.common_name = "client", .extended_key_usage = "serverAuth"});
  CHECK(!m.go());
  CHECK(m.text().find("at depth 0: unsupported certificate purpose") != std::string::npos);
}

TEST_CASE("tls verify: a client need not have a certificate unless one is required") {
  Mutual m;
  m.server_settings.require_client_certificate = false;
  m.server_secrets.validation = shared(m.v);
  REQUIRE(m.connect());
  CHECK(m.at_server("no_certificate") == 1);
  m.v.sans = {exact(SanMatcher::Type::uri, "spiffe://td/ns/a/sa/b")};  // names to match require one
  m.server_secrets.validation = shared(m.v);
  m.server_context = nullptr;
  CHECK(!m.connect());
  CHECK(m.at_server("fail_verify_no_cert") == 1);
}

TEST_CASE("tls verify: SPIFFE trust domains") {
  TestCa* other = nullptr;
  auto fresh = [&](const CertificateOptions& o, bool of_other = false) {
    auto m = std::make_unique<Mutual>(o);
    m->v = {};
    static std::vector<std::unique_ptr<TestCa>> cas;
    cas.push_back(std::make_unique<TestCa>("Other CA", m->loop.wall));
    other = cas.back().get();
    m->v.trust_domains = {{"td", m->ca.pem()}, {"other", other->pem()}};
    if (of_other) m->pair = other->issue(o);
    return m;
  };
  auto good = fresh({.common_name = "c", .sans = {"URI:spiffe://td/ns/a/sa/b"}});
  CHECK_MESSAGE(good->go(), good->text());
  CHECK(good->server.socket->tls_info()->peer_validated());
  auto other_good = fresh({.common_name = "c", .sans = {"URI:spiffe://other/ns/a/sa/b"}}, true);
  CHECK_MESSAGE(other_good->go(), other_good->text());
  // The CA of one domain says nothing of another.
  auto crossed = fresh({.common_name = "c", .sans = {"URI:spiffe://td/ns/a/sa/b"}}, true);
  CHECK(!crossed->go());
  CHECK(crossed->text().find("unable to get local issuer certificate") != std::string::npos);
  auto unknown = fresh({.common_name = "c", .sans = {"URI:spiffe://nobody/x"}});
  CHECK(!unknown->go());
  CHECK(unknown->text() == std::string(kFailed) + "verify cert failed: no trust bundle store:TLS_error_end");
  auto two = fresh({.common_name = "c", .sans = {"URI:spiffe://td/x", "URI:spiffe://td/y"}});
  CHECK(!two->go());
  auto none = fresh({.common_name = "c", .sans = {"DNS:td"}});
  CHECK(!none->go());
  auto authority =
      fresh({.common_name = "c", .sans = {"URI:spiffe://td/x"}, .key_usage = "digitalSignature,keyCertSign"});
  CHECK(!authority->go());
  CHECK(authority->text() == std::string(kFailed) + "verify cert failed: cert precheck:TLS_error_end");
  auto matched = fresh({.common_name = "c", .sans = {"URI:spiffe://td/x"}});
  matched->v.sans = {exact(SanMatcher::Type::uri, "spiffe://td/y")};
  CHECK(!matched->go());
  CHECK(matched->text() == std::string(kFailed) + "verify cert failed: SAN match:TLS_error_end");
  CHECK(matched->at_server("fail_verify_san") == 1);
  // Not their certificates, and not no certificate either.
  Mutual bare;
  bare.v = {};
  bare.v.trust_domains = {{"td", bare.ca.pem()}};
  bare.server_settings.require_client_certificate = false;
  bare.server_secrets.validation = shared(bare.v);
  CHECK(!bare.connect());
}

TEST_CASE("tls verify: the server's name") {
  auto outcome = [](auto&& set) {
    Bed bed;
    bed.server_secrets.certificates = {certificate(bed.ca.issue(
        {.common_name = "server", .sans = {"DNS:*.server.example", "IP:10.0.0.1", "URI:spiffe://td/s"}}))};
    set(bed);
    const bool ok = bed.connect();
    CHECK(bed.at_client("fail_verify_san") == !ok);
    return ok;
  };
  CHECK(outcome([](Bed&) {}));  // nobody asks
  CHECK(outcome([](Bed& b) { b.options.verify_names = {"a.server.example"}; }));
  CHECK(outcome([](Bed& b) { b.options.verify_names = {"nobody", "spiffe://td/s"}; }));
  CHECK(outcome([](Bed& b) { b.options.verify_names = {"10.0.0.1"}; }));
  CHECK(!outcome([](Bed& b) { b.options.verify_names = {"other.example"}; }));
  CHECK(!outcome(
      [](Bed& b) { b.options.verify_names = {"other.example"}, b.client_secrets.validation = nullptr; }));
  CHECK(outcome([](Bed& b) {
    b.client_settings.auto_sni_san_validation = true, b.options.server_name = "x.server.example";
  }));
  CHECK(!outcome([](Bed& b) { b.client_settings.auto_sni_san_validation = true; }));
  CHECK(
      outcome([](Bed& b) { b.client_settings.auto_sni_san_validation = true, b.options.server_name = ""; }));
  // The host's name.
  CHECK(outcome([](Bed& b) {
    b.client_settings.auto_sni_san_validation = b.client_settings.auto_host_sni = true;
    b.options.server_name = "";
    b.options.host_name = "h.server.example";
  }));
  CHECK(!outcome([](Bed& b) {
    b.client_settings.auto_sni_san_validation = b.client_settings.auto_host_sni = true;
    b.client_settings.server_name = "x.server.example";
    b.options.server_name = "";
    b.options.host_name = "other";
  }));
}

TEST_CASE("tls verify: a refused name is said to the peer as certificate_unknown") {
  Bed bed;
  bed.options.verify_names = {"other.example"};
  CHECK(!bed.connect());
  CHECK(bed.client.socket->failure() == std::string(kFailed) +
                                            "verify cert failed: verify SAN list, expected SANs: "
                                            "[other.example], certificate SANs: [server.example]"
                                            ":TLS_error_end");
  CHECK(bed.server.socket->failure() ==
        "TLS_error:|268436502:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_UNKNOWN:TLS_error_end");
}

TEST_CASE("tls verify: what a server's RSA key may do") {
  for (bool enforced : {false, true}) {
    Bed bed;
    bed.server_secrets.certificates = {certificate(
        bed.ca.issue({.common_name = "server", .key = KeyKind::rsa2048, .key_usage = "keyEncipherment"}))};
    bed.client_settings.max_version = Version::tls12;
    bed.client_settings.enforce_rsa_key_usage = enforced;
    CHECK(bed.connect() == !enforced);
    if (enforced) CHECK(bed.client.socket->failure().find("KEY_USAGE_BIT_INCORRECT") != std::string::npos);
  }
}

TEST_CASE(
    "tls verify: a name with control characters, or a thousand of them, does not get into a log as it is") {
  CertificateOptions o{.common_name = "c", .sans = {"URI:spiffe://td/a\x01z"}};
  for (int i = 0; i < 300; ++i) o.sans.push_back("DNS:name-" + std::to_string(i) + ".example");
  Mutual m(o);
  m.v.sans = {exact(SanMatcher::Type::uri, "other")};
  CHECK(!m.go());
  CHECK(m.text().find('\x01') == std::string::npos);
  CHECK(m.text().find("spiffe://td/a?z, name-0.example") != std::string::npos);
  CHECK(m.text().size() < 2500);
}

TEST_CASE("tls verify: a server that renegotiates is held to the name that was asked for") {
  Bed bed;
  bed.client_settings.allow_renegotiation = true;
  bed.options.verify_names = {"server.example"};
  bed.fresh();
  Raw server(true, &bed.server_pair);
  SSL_set_max_proto_version(server.ssl, TLS1_2_VERSION);
  server.run(bed, bed.client);
  REQUIRE(bed.client.socket->established());
  const PemPair other = bed.ca.issue({.common_name = "x", .sans = {"DNS:other.example"}});
  server.show(other);
  SSL_set_options(server.ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
  SSL_renegotiate(server.ssl);
  SSL_do_handshake(server.ssl);
  server.say(bed, bed.client);
  server.run(bed, bed.client);
  CHECK(bed.client.status == State::failed);
  CHECK(bed.at_client("fail_verify_san") == 1);
}
