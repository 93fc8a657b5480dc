#include "test/support/test_ca.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <stdexcept>

namespace sluice::test {
namespace {

void must(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}

std::string take(BIO* bio) {
  char* data = nullptr;
  const long n = BIO_get_mem_data(bio, &data);
  std::string s(data, static_cast<size_t>(n));
  BIO_free(bio);
  return s;
}

EVP_PKEY* make_key(KeyKind kind) {
  switch (kind) {
    case KeyKind::p256:
      return EVP_EC_gen("P-256");
    case KeyKind::p384:
      return EVP_EC_gen("P-384");
    case KeyKind::rsa2048:
      return EVP_RSA_gen(2048);
    case KeyKind::rsa1024:
      return EVP_RSA_gen(1024);
  }
  return nullptr;
}

std::string pem_of(X509* x) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, x);
  return take(bio);
}

std::string pem_of(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  return take(bio);
}

X509* read_certificate(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* x = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  must(x, "certificate");
  return x;
}

EVP_PKEY* read_key(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* k = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  must(k, "key");
  return k;
}

void extend(X509* x, X509* issuer, int nid, const std::string& value) {
  if (value.empty()) return;
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, x, nullptr, nullptr, 0);
  X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str());
  must(e, value.c_str());
  X509_add_ext(x, e, -1);
  X509_EXTENSION_free(e);
}

time_t seconds(WallTime t) {
  return std::chrono::floor<std::chrono::seconds>(t.time_since_epoch()).count();
}

X509_NAME* name(const std::string& cn) {
  X509_NAME* n = X509_NAME_new();
  if (!cn.empty())
    X509_NAME_add_entry_by_NID(n, NID_commonName, MBSTRING_UTF8, reinterpret_cast<const uint8_t*>(cn.data()),
                               static_cast<int>(cn.size()), -1, 0);
  return n;
}

int64_t next_serial() {
  static std::atomic<int64_t> n{0x1000};
  return ++n;
}

X509* blank(const std::string& cn, EVP_PKEY* key, int64_t serial, WallTime from, WallTime to) {
  X509* x = X509_new();
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(x), serial);
  ASN1_TIME_set(X509_getm_notBefore(x), seconds(from));
  ASN1_TIME_set(X509_getm_notAfter(x), seconds(to));
  X509_NAME* n = name(cn);
  X509_set_subject_name(x, n);
  X509_NAME_free(n);
  X509_set_pubkey(x, key);
  return x;
}

}  // namespace

struct TestCa::Impl {
  WallTime now;
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  std::string pem;
  std::string above;  // certificates between this one and the root, this one's own first; "": it is the root
  ~Impl() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  void become(const std::string& cn, KeyKind kind, EVP_PKEY* issuer_key, X509* issuer) {
    key = make_key(kind);
    certificate = blank(cn, key, next_serial(), now - std::chrono::hours(24 * 3650),
                        now + std::chrono::hours(24 * 3650));
    X509* by = issuer ? issuer : certificate;
    X509_set_issuer_name(certificate, X509_get_subject_name(by));
    extend(certificate, by, NID_basic_constraints, "critical,CA:TRUE");
    extend(certificate, by, NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(certificate, by, NID_subject_key_identifier, "hash");
    must(X509_sign(certificate, issuer_key ? issuer_key : key, EVP_sha256()) > 0, "sign");
    pem = pem_of(certificate);
  }
};

TestCa::TestCa(std::string cn, WallTime now, KeyKind key) : impl_(std::make_unique<Impl>()) {
  impl_->now = now;
  impl_->become(cn, key, nullptr, nullptr);
}
TestCa::TestCa(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TestCa::TestCa(TestCa&&) noexcept = default;
TestCa::~TestCa() = default;

TestCa TestCa::intermediate(std::string cn) const {
  auto impl = std::make_unique<Impl>();
  impl->now = impl_->now;
  impl->become(cn, KeyKind::p256, impl_->key, impl_->certificate);
  impl->above = impl->pem + impl_->above;
  return TestCa(std::move(impl));
}

PemPair TestCa::issue(const CertificateOptions& o) const {
  PemPair pair;
  pair.serial = o.serial ? o.serial : next_serial();
  EVP_PKEY* key = make_key(o.key);
  X509* x = blank(o.common_name, key, pair.serial, impl_->now + o.starts, impl_->now + o.ends);
  X509_set_issuer_name(x, X509_get_subject_name(impl_->certificate));
  extend(x, impl_->certificate, NID_basic_constraints, "critical,CA:FALSE");
  extend(x, impl_->certificate, NID_key_usage, o.key_usage);
  extend(x, impl_->certificate, NID_ext_key_usage, o.extended_key_usage);
  std::string sans;
  for (const std::string& s : o.sans) sans += (sans.empty() ? "" : ",") + s;
  extend(x, impl_->certificate, NID_subject_alt_name, sans);
  if (o.must_staple) extend(x, impl_->certificate, NID_tlsfeature, "status_request");
  must(X509_sign(x, impl_->key, EVP_sha256()) > 0, "sign");
  pair.certificate = pem_of(x);
  pair.chain = pair.certificate + impl_->above;
  pair.key = pem_of(key);
  X509_free(x);
  EVP_PKEY_free(key);
  return pair;
}

const std::string& TestCa::pem() const {
  return impl_->pem;
}

std::string TestCa::key_pem() const {
  return pem_of(impl_->key);
}

std::string TestCa::crl(const std::vector<int64_t>& revoked) const {
  X509_CRL* crl = X509_CRL_new();
  X509_CRL_set_version(crl, X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(impl_->certificate));
  ASN1_TIME* t = ASN1_TIME_set(nullptr, seconds(impl_->now) - 3600);
  X509_CRL_set1_lastUpdate(crl, t);
  for (int64_t serial : revoked) {
    X509_REVOKED* r = X509_REVOKED_new();
    ASN1_INTEGER* n = ASN1_INTEGER_new();
    ASN1_INTEGER_set_int64(n, serial);
    X509_REVOKED_set_serialNumber(r, n);
    X509_REVOKED_set_revocationDate(r, t);
    X509_CRL_add0_revoked(crl, r);
    ASN1_INTEGER_free(n);
  }
  ASN1_TIME_set(t, seconds(impl_->now) + 86400);
  X509_CRL_set1_nextUpdate(crl, t);
  ASN1_TIME_free(t);
  must(X509_CRL_sign(crl, impl_->key, EVP_sha256()) > 0, "crl");
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_CRL(bio, crl);
  X509_CRL_free(crl);
  return take(bio);
}

std::string TestCa::ocsp(const PemPair& of, std::chrono::seconds ends) const {
  X509* x = read_certificate(of.certificate);
  OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
  OCSP_CERTID* id = OCSP_cert_to_id(nullptr, x, impl_->certificate);
  ASN1_TIME* from = ASN1_GENERALIZEDTIME_set(nullptr, seconds(impl_->now) - 86400);
  ASN1_TIME* to = ASN1_GENERALIZEDTIME_set(nullptr, seconds(impl_->now + ends));
  OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, nullptr, from, to);
  must(OCSP_basic_sign(basic, impl_->certificate, impl_->key, EVP_sha256(), nullptr, OCSP_NOCERTS), "ocsp");
  OCSP_RESPONSE* response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
  uint8_t* der = nullptr;
  const int n = i2d_OCSP_RESPONSE(response, &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(n));
  OPENSSL_free(der);
  OCSP_RESPONSE_free(response);
  OCSP_BASICRESP_free(basic);
  OCSP_CERTID_free(id);
  ASN1_TIME_free(from);
  ASN1_TIME_free(to);
  X509_free(x);
  return out;
}

std::string pkcs12(const PemPair& pair, const std::string& password) {
  X509* x = read_certificate(pair.certificate);
  EVP_PKEY* key = read_key(pair.key);
  PKCS12* p = PKCS12_create(password.c_str(), "test", key, x, nullptr, 0, 0, 0, 0, 0);
  must(p, "pkcs12");
  uint8_t* der = nullptr;
  const int n = i2d_PKCS12(p, &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(n));
  OPENSSL_free(der);
  PKCS12_free(p);
  X509_free(x);
  EVP_PKEY_free(key);
  return out;
}

std::string encrypted_key(const PemPair& pair, const std::string& password) {
  EVP_PKEY* key = read_key(pair.key);
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, EVP_aes_256_cbc(), reinterpret_cast<const uint8_t*>(password.data()),
                           static_cast<int>(password.size()), nullptr, nullptr);
  EVP_PKEY_free(key);
  return take(bio);
}

std::string sha256_of_certificate(const PemPair& pair) {
  X509* x = read_certificate(pair.certificate);
  uint8_t out[32];
  unsigned n = 0;
  X509_digest(x, EVP_sha256(), out, &n);
  X509_free(x);
  return {reinterpret_cast<char*>(out), n};
}

std::string sha256_of_public_key(const PemPair& pair) {
  X509* x = read_certificate(pair.certificate);
  uint8_t* der = nullptr;
  const int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
  uint8_t out[32];
  unsigned n = 0;
  EVP_Digest(der, static_cast<size_t>(len), out, &n, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  X509_free(x);
  return {reinterpret_cast<char*>(out), n};
}

}  // namespace sluice::test
