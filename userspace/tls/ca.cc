#include "tls/ca.h"

#include <openssl/pem.h>
#include <openssl/rand.h>

#include "core/spiffe.h"
#include "tls/errors.h"
#include "tls/openssl.h"

namespace sluice::tls {
namespace {

// OpenSSL's own context: nullptr has what connections need, and writes no keys.
constexpr OSSL_LIB_CTX* kAll = nullptr;
constexpr Duration kClockSkew = std::chrono::minutes(1);
constexpr size_t kSerialBytes = 16;

using ExtensionPtr = Owned<X509_EXTENSION, X509_EXTENSION_free>;
using ConstraintsPtr = Owned<NAME_CONSTRAINTS, NAME_CONSTRAINTS_free>;

Error failed(const char* what) {
  return Error{std::string("the development CA: ") + what + ": " + first_error()};
}

Result<PkeyPtr> make_key() {
  PkeyPtr key(EVP_PKEY_Q_keygen(kAll, nullptr, "EC", "P-256"));
  if (!key) return failed("a key could not be made");
  return key;
}

Result<std::string> key_pem(EVP_PKEY* key) {
  BioPtr out(BIO_new(BIO_s_mem()));
  if (!out || PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return failed("a key could not be written");
  return to_text(out.get());
}

Result<std::string> certificate_pem(X509* certificate) {
  BioPtr out(BIO_new(BIO_s_mem()));
  if (!out || PEM_write_bio_X509(out.get(), certificate) != 1)
    return failed("a certificate could not be written");
  return to_text(out.get());
}

Status add(X509* to, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(to, extension.get(), -1) != 1) return failed(OBJ_nid2ln(nid));
  return {};
}

Status begin(X509* certificate, EVP_PKEY* key, WallTime from, WallTime until) {
  unsigned char serial[kSerialBytes];
  if (RAND_bytes_ex(kAll, serial, sizeof serial, 0) != 1) return failed("no random numbers");
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);  // positive, and of full length
  Owned<BIGNUM, BN_free> number(BN_bin2bn(serial, sizeof serial, nullptr));
  if (!number || !BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) ||
      X509_set_version(certificate, X509_VERSION_3) != 1 ||
      !ASN1_TIME_set(X509_getm_notBefore(certificate), to_seconds(from)) ||
      !ASN1_TIME_set(X509_getm_notAfter(certificate), to_seconds(until)) ||
      X509_set_pubkey(certificate, key) != 1)
    return failed("a certificate could not be made");
  return {};
}

Status sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0) return failed("signing");
  return {};
}

X509Ptr new_certificate() {
  return X509Ptr(X509_new_ex(kAll, nullptr));
}

Status add_name(X509_NAME* name, const char* field, const std::string& value) {
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(value.data()),
                                 static_cast<int>(value.size()), -1, 0) != 1)
    return failed("the subject");
  return {};
}

// The one trust domain that its name constraints leave it; "": they say nothing of it.
std::string constrained_to(X509* certificate) {
  ConstraintsPtr names(
      static_cast<NAME_CONSTRAINTS*>(X509_get_ext_d2i(certificate, NID_name_constraints, nullptr, nullptr)));
  if (!names) return "";
  for (int i = 0; i < sk_GENERAL_SUBTREE_num(names->permittedSubtrees); ++i) {
    const GENERAL_NAME* base = sk_GENERAL_SUBTREE_value(names->permittedSubtrees, i)->base;
    if (base->type == GEN_URI) return std::string(view(base->d.uniformResourceIdentifier));
  }
  return "";
}

}  // namespace

struct DevelopmentCa::Parsed {
  X509Ptr certificate;
  PkeyPtr key;
};

Result<std::shared_ptr<const DevelopmentCa::Parsed>> DevelopmentCa::parse(const std::string& certificate,
                                                                          const std::string& private_key) {
  Parsed out;
  BioPtr in = reader(certificate);
  if (in) out.certificate.reset(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  if (!out.certificate) return failed("its certificate cannot be read");
  BioPtr key = reader(private_key);
  if (key) out.key.reset(PEM_read_bio_PrivateKey_ex(key.get(), nullptr, nullptr, nullptr, kAll, nullptr));
  if (!out.key) return failed("its key cannot be read");
  if (X509_check_private_key(out.certificate.get(), out.key.get()) != 1)
    return failed("key and certificate do not fit together");
  if (X509_check_ca(out.certificate.get()) != 1)
    return Error{"the development CA: its certificate is no CA's"};
  return std::make_shared<const Parsed>(std::move(out));
}

Result<DevelopmentCa> DevelopmentCa::make(const Options& options, WallTime now) {
  if (Status s = check_spiffe_id("spiffe://" + options.trust_domain + "/x");
      !s || options.trust_domain.find('/') != std::string::npos)
    return Error{"\"" + options.trust_domain + "\" is no trust domain: 1 to 255 of a-z 0-9 . - _"};
  SLUICE_ASSIGN(PkeyPtr key, make_key());
  X509Ptr root = new_certificate();
  if (!root) return failed("a certificate could not be made");
  SLUICE_TRY(begin(root.get(), key.get(), now - kClockSkew, now + options.lifetime));
  X509_NAME* name = X509_get_subject_name(root.get());
  SLUICE_TRY(add_name(name, "O", options.trust_domain));
  SLUICE_TRY(add_name(name, "CN", "Sluice development CA"));
  if (X509_set_issuer_name(root.get(), name) != 1) return failed("the issuer");
  X509* r = root.get();
  SLUICE_TRY(add(r, r, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  SLUICE_TRY(add(r, r, NID_key_usage, "critical,keyCertSign,cRLSign"));
  SLUICE_TRY(add(r, r, NID_subject_key_identifier, "hash"));
  if (options.constrained)
    SLUICE_TRY(add(r, r, NID_name_constraints, "critical,permitted;URI:" + options.trust_domain));
  SLUICE_TRY(add(r, r, NID_subject_alt_name, "URI:spiffe://" + options.trust_domain));
  SLUICE_TRY(sign(r, key.get()));
  DevelopmentCa out;
  SLUICE_ASSIGN(out.certificate_, certificate_pem(r));
  SLUICE_ASSIGN(out.private_key_, key_pem(key.get()));
  if (options.constrained) out.trust_domain_ = options.trust_domain;
  out.parsed_ = std::make_shared<const Parsed>(std::move(root), std::move(key));
  return out;
}

Result<DevelopmentCa> DevelopmentCa::load(std::string certificate, std::string private_key) {
  DevelopmentCa out;
  SLUICE_ASSIGN(out.parsed_, parse(certificate, private_key));
  out.trust_domain_ = constrained_to(out.parsed_->certificate.get());
  out.certificate_ = std::move(certificate);
  out.private_key_ = std::move(private_key);
  return out;
}

Result<Certificate> DevelopmentCa::issue(const Request& request) const {
  SLUICE_TRY(check_spiffe_id(request.identity));
  if (!trust_domain_.empty() && trust_domain_of(request.identity) != trust_domain_)
    return Error{request.identity + ": this CA issues for the trust domain " + trust_domain_ + " alone"};
  if (request.ttl <= Duration(0)) return Error{"a certificate must be valid for some time"};
  const Parsed& ca = *parsed_;
  const WallTime end = to_wall(X509_get0_notAfter(ca.certificate.get()));
  if (end <= request.now) return Error{"the development CA's own certificate has expired"};
  SLUICE_ASSIGN(PkeyPtr key, make_key());
  X509Ptr leaf = new_certificate();
  if (!leaf) return failed("a certificate could not be made");
  SLUICE_TRY(
      begin(leaf.get(), key.get(), request.now - kClockSkew,
            std::min<WallTime>(std::chrono::floor<WallTime::duration>(request.now + request.ttl), end)));
  if (X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca.certificate.get())) != 1)
    return failed("the issuer");
  std::string names = "critical,URI:" + request.identity;
  for (const std::string& name : request.dns_names) {
    if (name.empty() ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*_") !=
            std::string::npos)
      return Error{"\"" + name + "\" is no DNS name"};
    names += ",DNS:" + name;
  }
  X509* l = leaf.get();
  SLUICE_TRY(add(l, ca.certificate.get(), NID_basic_constraints, "critical,CA:FALSE"));
  SLUICE_TRY(add(l, ca.certificate.get(), NID_key_usage, "critical,digitalSignature"));
  SLUICE_TRY(add(l, ca.certificate.get(), NID_ext_key_usage, "serverAuth,clientAuth"));
  SLUICE_TRY(add(l, ca.certificate.get(), NID_subject_key_identifier, "hash"));
  SLUICE_TRY(add(l, ca.certificate.get(), NID_authority_key_identifier, "keyid"));
  SLUICE_TRY(add(l, ca.certificate.get(), NID_subject_alt_name, names));
  SLUICE_TRY(sign(l, ca.key.get()));
  Certificate out;
  SLUICE_ASSIGN(out.chain, certificate_pem(l));
  SLUICE_ASSIGN(out.private_key, key_pem(key.get()));
  return out;
}

}  // namespace sluice::tls
