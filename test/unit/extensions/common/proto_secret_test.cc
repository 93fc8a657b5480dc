#include "extensions/common/proto_secret.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "envoy/extensions/transport_sockets/tls/v3/common.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"

namespace sluice::extensions {
namespace {

namespace v3 = envoy::extensions::transport_sockets::tls::v3;

struct TemporaryFile {
  explicit TemporaryFile(const std::string& content) {
    char name[] = "/tmp/sluice-secret-XXXXXX";
    const int fd = ::mkstemp(name);
    ::close(fd);
    path = name;
    std::ofstream(path, std::ios::binary) << content;
  }
  ~TemporaryFile() { ::unlink(path.c_str()); }
  std::string path;
};

TEST_CASE("secrets: a certificate from a file, the environment and inline") {
  TemporaryFile chain("the chain");
  ::setenv("SLUICE_TEST_KEY", "the key", 1);
  v3::TlsCertificate in;
  in.mutable_certificate_chain()->set_filename(chain.path);
  in.mutable_private_key()->set_environment_variable("SLUICE_TEST_KEY");
  in.mutable_password()->set_inline_string("secret");
  in.mutable_ocsp_staple()->set_inline_bytes("\x30");
  auto out = to_certificate(in, "x");
  REQUIRE(out.ok());
  CHECK(out->chain == "the chain");
  CHECK(out->private_key == "the key");
  CHECK(out->password == "secret");
  CHECK(out->ocsp_staple == "\x30");

  wipe(*out);
  CHECK(out->private_key.empty());
  CHECK(out->chain == "the chain");
}

TEST_CASE("secrets: what is no certificate is refused, with Envoy's words") {
  auto error = [](const v3::TlsCertificate& in) {
    auto out = to_certificate(in, "tls_certificates[0]");
    REQUIRE(!out.ok());
    return out.error().message;
  };
  v3::TlsCertificate in;
  CHECK(error(in) ==
        "tls_certificates[0].certificate_chain: Failed to load incomplete certificate from : certificate "
        "chain not set");
  in.mutable_certificate_chain()->set_inline_string("c");
  CHECK(error(in) == "tls_certificates[0].private_key: Failed to load incomplete private key from path: ");
  in.mutable_private_key()->set_filename("/nonexistent/key.pem");
  CHECK(error(in).starts_with("tls_certificates[0].private_key.filename: /nonexistent/key.pem"));
  in.mutable_private_key()->set_environment_variable("SLUICE_TEST_NO_SUCH");
  CHECK(error(in).starts_with("tls_certificates[0].private_key.environment_variable"));
  TemporaryFile nothing("");
  in.mutable_private_key()->set_filename(nothing.path);
  CHECK(error(in) == "tls_certificates[0].private_key: file " + nothing.path + " is empty");
  in.mutable_private_key()->set_inline_string("k");
  in.mutable_ocsp_staple()->set_inline_string("x");
  CHECK(error(in) == "tls_certificates[0].ocsp_staple: OCSP staple cannot be provided via inline_string");
  in.clear_ocsp_staple();
  in.mutable_pkcs12()->set_inline_bytes("p");
  CHECK(error(in) == "tls_certificates[0]: Certificate configuration can't have both pkcs12 and private_key");
  in.clear_private_key();
  CHECK(error(in) ==
        "tls_certificates[0]: Certificate configuration can't have both pkcs12 and certificate_chain");
  in.clear_certificate_chain();
  auto out = to_certificate(in, "");
  REQUIRE(out.ok());
  CHECK(out->pkcs12 == "p");
}

TEST_CASE("secrets: whom to trust") {
  v3::CertificateValidationContext in;
  in.mutable_trusted_ca()->set_inline_string("ca");
  in.mutable_crl()->set_inline_string("crl");
  // The same hash in the three ways it may be written.
  const std::string hex = "00112233445566778899AABBccddeeff00112233445566778899aabbccddeeff";
  std::string colons;
  for (size_t i = 0; i < hex.size(); i += 2) colons += (i ? ":" : "") + hex.substr(i, 2);
  in.add_verify_certificate_hash(hex);
  in.add_verify_certificate_hash(colons);
  in.add_verify_certificate_spki("ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=");
  auto* typed = in.add_match_typed_subject_alt_names();
  typed->set_san_type(v3::SubjectAltNameMatcher::URI);
  typed->mutable_matcher()->set_prefix("spiffe://td/");
  in.set_allow_expired_certificate(true);
  in.set_trust_chain_verification(v3::CertificateValidationContext::ACCEPT_UNTRUSTED);
  in.set_only_verify_leaf_cert_crl(true);
  in.mutable_max_verify_depth()->set_value(3);
  auto out = to_validation(in, "v");
  REQUIRE(out.ok());
  CHECK(out->ca_name == "<inline>");
  CHECK(out->trusted_ca == "ca");
  CHECK(out->crl == "crl");
  REQUIRE(out->certificate_hashes.size() == 2);
  CHECK(out->certificate_hashes[0].size() == 32);
  CHECK(out->certificate_hashes[0] == out->certificate_hashes[1]);
  REQUIRE(out->spki_hashes.size() == 1);
  CHECK(out->spki_hashes[0] == out->certificate_hashes[0]);
  REQUIRE(out->sans.size() == 1);
  CHECK(out->sans[0].type == tls::SanMatcher::Type::uri);
  CHECK(out->sans[0].matcher.matches("spiffe://td/ns/a/sa/b"));
  CHECK(out->allow_expired);
  CHECK(out->accept_untrusted);
  CHECK(out->only_verify_leaf_crl);
  CHECK(out->max_verify_depth == 3);

  in.clear_match_typed_subject_alt_names();
  in.add_match_subject_alt_names()->set_exact("a.example");
  out = to_validation(in, "v");
  REQUIRE(out.ok());
  REQUIRE(out->sans.size() == 1);
  CHECK(out->sans[0].type == tls::SanMatcher::Type::any);
  CHECK(to_validation(v3::CertificateValidationContext(), "v")->max_verify_depth == 100);
}

TEST_CASE("secrets: what nobody should trust by is refused, with Envoy's words") {
  auto error = [](const v3::CertificateValidationContext& in) {
    auto out = to_validation(in, "v");
    REQUIRE(!out.ok());
    return out.error().message;
  };
  for (const char* hash : {"", "0", "zz112233445566778899AABBccddeeff00112233445566778899aabbccddeeff",
                           "00:112233445566778899AABBccddeeff00112233445566778899aabbccddeeff"}) {
    v3::CertificateValidationContext in;
    in.add_verify_certificate_hash(hash);
    CHECK(error(in) == std::string("v.verify_certificate_hash[0]: Invalid hex-encoded SHA-256 ") + hash);
  }
  for (const char* hash : {"AAAA", "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v9=",
                           "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8*"}) {
    v3::CertificateValidationContext in;
    in.add_verify_certificate_spki(hash);
    CHECK(error(in) == std::string("v.verify_certificate_spki[0]: Invalid base64-encoded SHA-256 ") + hash);
  }
  v3::CertificateValidationContext in;
  in.mutable_crl()->set_inline_string("crl");
  CHECK(error(in) == "v.crl: Failed to load CRL from <inline> without trusted CA");
  in.Clear();
  in.add_match_subject_alt_names()->set_exact("a");
  CHECK(error(in) ==
        "v: SAN-based verification of peer certificates without trusted CA is insecure and not allowed");
  in.add_match_typed_subject_alt_names();
  CHECK(error(in).starts_with("v: SAN-based verification using both"));
  in.Clear();
  in.set_allow_expired_certificate(true);
  CHECK(error(in) ==
        "v.allow_expired_certificate: Certificate validity period is always ignored without trusted CA");
  // A CA of no bytes would mean: trust everybody.
  in.Clear();
  in.mutable_trusted_ca()->set_inline_string("");
  CHECK(error(in) == "v.trusted_ca: is empty");
}

TEST_CASE("secrets: session ticket keys are 80 bytes each") {
  v3::TlsSessionTicketKeys in;
  CHECK(to_ticket_keys(in, "t").error().message == "t.keys: at least one is needed");
  in.add_keys()->set_inline_bytes(std::string(80, 'a'));
  in.add_keys()->set_inline_bytes(std::string(80, 'b'));
  auto out = to_ticket_keys(in, "t");
  REQUIRE(out.ok());
  CHECK(out->keys == std::vector{std::string(80, 'a'), std::string(80, 'b')});
  in.mutable_keys(1)->set_inline_bytes("short");
  CHECK(to_ticket_keys(in, "t").error().message ==
        "t.keys[1]: Incorrect TLS session ticket key length. Length 5, expected length 80.");
}

TEST_CASE("secrets: the files that rotation looks at") {
  v3::Secret in;
  in.mutable_tls_certificate()->mutable_certificate_chain()->set_filename("/d/cert.pem");
  in.mutable_tls_certificate()->mutable_private_key()->set_filename("/d/key.pem");
  in.mutable_tls_certificate()->mutable_password()->set_inline_string("p");
  CHECK(secret_files(in).files == std::vector<std::string>{"/d/cert.pem", "/d/key.pem"});
  CHECK(secret_files(in).directory.empty());
  in.mutable_validation_context()->mutable_trusted_ca()->set_filename("/e/ca.pem");
  in.mutable_validation_context()->mutable_watched_directory()->set_path("/e");
  CHECK(secret_files(in).files == std::vector<std::string>{"/e/ca.pem"});
  CHECK(secret_files(in).directory == "/e");
}

}  // namespace
}  // namespace sluice::extensions
