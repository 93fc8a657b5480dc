#include "test/unit/tls/raw.h"
#include "test/unit/tls/rig.h"
#include "tls/check.h"

using namespace sluice;
using namespace sluice::tls;
using namespace sluice::tls::test;

namespace {

// A server with several certificates; what a client is shown is its common name.
struct Several : Bed {
  Several() {
    add("exact", {"DNS:a.example"}, KeyKind::p256);
    add("exact-rsa", {"DNS:a.example"}, KeyKind::rsa2048);
    add("wild", {"DNS:*.wild.example"}, KeyKind::p256);
    add("384", {"DNS:b.example"}, KeyKind::p384);
    server_secrets.certificates = all;
  }
  void add(std::string name, std::vector<std::string> sans, KeyKind key) {
    all.push_back(
        certificate(ca.issue({.common_name = std::move(name), .sans = std::move(sans), .key = key})));
  }
  std::string shown(std::string sni) {
    options.server_name = std::move(sni);
    if (!connect()) return "failed: " + client.socket->failure() + server.socket->failure();
    return client.socket->tls_info()->peer()->subject;
  }
  std::vector<std::shared_ptr<const Certificate>> all;
};

}  // namespace

TEST_CASE("tls: the certificate goes by SNI") {
  Several s;
  CHECK(s.shown("a.example") == "CN=exact");
  CHECK(s.shown("x.wild.example") == "CN=wild");
  CHECK(s.shown("x.y.wild.example") == "CN=exact");  // one level alone; the first is everybody's
  CHECK(s.shown("b.example") == "CN=384");
  CHECK(s.shown("nobody.example") == "CN=exact");
  CHECK(s.shown("") == "CN=exact");
  CHECK(s.server.socket->tls_info()->local()->subject == "CN=exact");
}

TEST_CASE("tls: the certificate goes by what keys the client takes") {
  for (Version max : {Version::tls12, Version::tls13}) {
    CAPTURE(static_cast<int>(max));
    Several s;
    s.client_settings.max_version = max;
    s.client_settings.signature_algorithms = {"rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"};
    if (max == Version::tls12) s.client_settings.cipher_suites = {"ECDHE-RSA-AES128-GCM-SHA256"};
    CHECK(s.shown("a.example") == "CN=exact-rsa");
    CHECK(s.shown("") == "CN=exact-rsa");
  }
}

TEST_CASE("tls: names that no certificate has, with a scan of all") {
  Several s;
  std::reverse(s.all.begin(), s.all.end());  // P-384, wild, RSA, P-256
  s.server_secrets.certificates = s.all;
  s.client_settings.signature_algorithms = {"ecdsa_secp256r1_sha256"};
  s.server_settings.full_scan_on_sni_mismatch = true;
  CHECK(s.shown("nobody.example") == "CN=wild");
}

TEST_CASE("tls: cipher lists in BoringSSL's notation") {
  Bed bed;
  bed.server_settings.cipher_suites = {"[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
                                       "AES128-SHA"};
  bed.client_settings.max_version = Version::tls12;
  REQUIRE(bed.connect());
  CHECK(bed.client.socket->tls_info()->cipher() == "ECDHE-ECDSA-AES128-GCM-SHA256");
  // A client that prefers ChaCha20 is given it, within a group.
  bed.client_settings.cipher_suites = {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                                       "ECDHE-ECDSA-AES128-GCM-SHA256"};
  bed.client_context = nullptr;
  REQUIRE(bed.connect());
  CHECK(bed.client.socket->tls_info()->cipher() == "ECDHE-ECDSA-CHACHA20-POLY1305");

  bed.server_settings.cipher_suites = {"ECDHE-ECDSA-AES128-GCM-SHA256", "NONSENSE", "TLS_AES_128_GCM_SHA256"};
  auto made = ServerContext::make(bed.server_settings, bed.server_secrets);
  REQUIRE(!made.ok());
  CHECK(made.error().message ==
        "Failed to initialize cipher suites ECDHE-ECDSA-AES128-GCM-SHA256:NONSENSE:TLS_AES_128_GCM_SHA256. "
        "The following "
        "ciphers were rejected when tried individually: NONSENSE, TLS_AES_128_GCM_SHA256");
}

TEST_CASE("tls: settings that cannot be had are refused in Envoy's words") {
  Bed bed;
  bed.server_settings.curves = {"X25519", "P-999"};
  CHECK(ServerContext::make(bed.server_settings, bed.server_secrets).error().message ==
        "Failed to initialize ECDH curves X25519:P-999");
  bed.server_settings.curves = {};
  bed.server_settings.signature_algorithms = {"sign_here"};
  CHECK(ServerContext::make(bed.server_settings, bed.server_secrets).error().message ==
        "Failed to initialize TLS signature algorithms sign_here");
  bed.server_settings.signature_algorithms = {};
  bed.server_secrets.certificates = {};
  CHECK(ServerContext::make(bed.server_settings, bed.server_secrets).error().message ==
        "Server TlsCertificates must have a certificate specified");
  bed.client_settings.auto_sni_san_validation = true;
  bed.client_secrets.validation = nullptr;
  CHECK(ClientContext::make(bed.client_settings, bed.client_secrets).error().message ==
        "'auto_sni_san_validation' was configured without a validation context");
  bed.client_secrets.validation = shared(Validation{});
  CHECK(ClientContext::make(bed.client_settings, bed.client_secrets).error().message ==
        "'auto_sni_san_validation' was configured without configuring a trusted CA");
}

TEST_CASE("tls: curves, with each cipher of TLS 1.3") {
  for (const char* curve : {"X25519", "P-256", "P-384", "P-521"}) {
    for (const char* suite :
         {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
      CAPTURE(curve);
      CAPTURE(suite);
      Bed bed;
      bed.server_settings.curves = {curve};
      bed.fresh();
      Raw client(false);
      SSL_set_ciphersuites(client.ssl, suite);
      SSL_set1_groups_list(client.ssl, "X448:X25519:P-256:P-384:P-521");  // a HelloRetryRequest
      client.run(bed, bed.server);
      REQUIRE_MESSAGE(bed.server.socket->established(), bed.server.socket->failure());
      CHECK(bed.at_server(std::string("curves.") + curve) == 1);
      CHECK(bed.at_server(std::string("ciphers.") + suite) == 1);
      Buffer plain;
      plain.append(bed.loop.blocks(), "hello");
      bed.server.socket->send(plain, 5, bed.server.out);
      client.run(bed, bed.server);
      CHECK(client.got == "hello");
    }
  }
}

TEST_CASE("tls: OCSP stapling") {
  using Ocsp = ServerSettings::Ocsp;
  constexpr std::chrono::seconds kGood{3600}, kOld{-10}, kNone{0};
  struct Case {
    Ocsp policy;
    std::chrono::seconds ends;
    bool must_staple, connects;
    const char* counter;
  };
  for (const Case& c : {Case{Ocsp::lenient, kGood, false, true, "ocsp_staple_responses"},
                        Case{Ocsp::lenient, kOld, false, true, "ocsp_staple_omitted"},
                        Case{Ocsp::strict, kGood, false, true, "ocsp_staple_responses"},
                        Case{Ocsp::strict, kOld, false, false, "ocsp_staple_failed"},
                        Case{Ocsp::strict, kNone, false, true, "ocsp_staple_omitted"},
                        Case{Ocsp::must, kGood, false, true, "ocsp_staple_responses"},
                        Case{Ocsp::must, kOld, false, false, "ocsp_staple_failed"},
                        Case{Ocsp::lenient, kOld, true, false, "ocsp_staple_failed"}}) {
    CAPTURE(c.counter);
    Bed bed;
    const PemPair pair = bed.ca.issue({.common_name = "s", .must_staple = c.must_staple});
    Certificate cert = *certificate(pair);
    if (c.ends != kNone) cert.ocsp_staple = bed.ca.ocsp(pair, c.ends);
    bed.server_secrets.certificates = {shared(cert)};
    bed.server_settings.ocsp = c.policy;
    bed.fresh();
    Raw client(false);  // ours does not ask for one
    SSL_set_tlsext_status_type(client.ssl, TLSEXT_STATUSTYPE_ocsp);
    client.run(bed, bed.server);
    CHECK(bed.server.socket->established() == c.connects);
    const uint8_t* staple = nullptr;
    const long size = SSL_get_tlsext_status_ocsp_resp(client.ssl, &staple);
    CHECK((size > 0) == (c.counter == std::string_view("ocsp_staple_responses")));
    if (size > 0)
      CHECK(std::string(reinterpret_cast<const char*>(staple), static_cast<size_t>(size)) ==
            cert.ocsp_staple);
    CHECK(bed.at_server("ocsp_staple_requests") == 1);
    CHECK(bed.at_server(c.counter) == 1);
    if (!c.connects) CHECK(bed.server.socket->failure().find("CONNECTION_REJECTED") != std::string::npos);
  }
}

TEST_CASE("tls: secrets that are wrong, in Envoy's words and without their contents") {
  Bed bed;
  const PemPair pair = bed.ca.issue({.common_name = "x"}), other = bed.ca.issue({.common_name = "y"});
  Certificate c = *certificate(pair);
  CHECK(check(c).ok());
  c.chain = "nonsense";
  CHECK(check(c, "/a.pem").error().message == "Failed to load certificate chain from /a.pem");
  c = *certificate(pair);
  c.private_key = other.key;
  CHECK(check(c).error().message ==
        "Failed to load private key from <inline>, Cause: error:0b000074:X.509 certificate "
        "routines:OPENSSL_internal:KEY_VALUES_MISMATCH");
  c.private_key = "";
  CHECK(check(c, "c", "k").error().message.starts_with("Failed to load private key from k, Cause: error:"));
  c.private_key = encrypted_key(pair, "secret");
  const std::string without = check(c).error().message;
  CHECK(without.starts_with("Failed to load private key from <inline>, Cause: error:"));
  c.password = "wrong-one";
  CHECK(check(c).error().message.find("wrong-one") == std::string::npos);
  c.password = "secret";
  CHECK(check(c).ok());
  c = *certificate(bed.ca.issue({.common_name = "weak", .key = KeyKind::rsa1024}));
  CHECK(check(c).error().message ==
        "Failed to load certificate chain from <inline>, only RSA certificates with 2048-bit or larger keys "
        "are supported");
  c = {};
  c.pkcs12 = pkcs12(pair, "open");
  c.password = "open";
  CHECK(check(c).ok());
  CHECK(summarize(c)->size() == 1);
  c.password = "shut";
  CHECK(check(c, "/a.p12").error().message == "Failed to load pkcs12 from /a.p12");
  c = *certificate(pair);
  c.ocsp_staple = bed.ca.ocsp(other, std::chrono::seconds(60));
  CHECK(check(c).error().message == "OCSP response does not match its TLS certificate");
  c.ocsp_staple = "nonsense";
  CHECK(check(c).error().message == "OCSP Response is not a well-formed ASN.1 SEQUENCE");
  c = *certificate(bed.ca.issue({.common_name = "m", .must_staple = true}));
  CHECK(check(c).error().message == "OCSP response is required for must-staple certificate");

  Validation v;
  CHECK(check(v).ok());
  v.ca_name = "/ca.pem";
  v.trusted_ca = "nonsense";
  CHECK(check(v).error().message == "Failed to load trusted CA certificates from /ca.pem");
  v.trusted_ca = bed.ca.pem();
  CHECK(check(v).ok());
  v.trust_domains = {{"td", bed.ca.pem()}, {"td", bed.ca.pem()}};
  CHECK(check(v).error().message == "Multiple trust bundles are given for one trust domain for td");
  v.trust_domains = {{"td", ""}};
  CHECK(check(v).error().message == "Failed to load trusted CA certificate for td");

  CHECK(check(TicketKeys{.keys = {std::string(80, 'k')}}).ok());
  CHECK(check(TicketKeys{.keys = {std::string(79, 'k')}}).error().message ==
        "Incorrect TLS session ticket key length. Length 79, expected length 80.");
}

TEST_CASE("tls: what /certs shows of a bundle") {
  Bed bed;
  const PemPair pair = bed.ca.issue({.common_name = "x",
                                     .sans = {"DNS:a", "URI:spiffe://b", "IP:1.2.3.4"},
                                     .ends = std::chrono::seconds(60),
                                     .serial = 0xabc});
  auto all = summarize(std::string_view(pair.certificate + bed.ca.pem()));
  REQUIRE(all.ok());
  REQUIRE(all->size() == 2);
  const CertificateSummary& s = all->front();
  CHECK(s.serial == "0abc");
  CHECK(s.dns_sans == std::vector<std::string>{"a"});
  CHECK(s.uri_sans == std::vector<std::string>{"spiffe://b"});
  CHECK(s.ip_sans == std::vector<std::string>{"1.2.3.4"});
  CHECK(s.not_after == bed.loop.wall + std::chrono::seconds(60));
  CHECK(!summarize(std::string_view("nothing")).ok());
}
