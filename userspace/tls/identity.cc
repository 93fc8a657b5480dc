#include "tls/identity.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include <algorithm>

#include "tls/check.h"
#include "tls/errors.h"
#include "tls/names.h"

namespace sluice::tls {
namespace {

// Keys are read by the library's ordinary context: library() has no decoders for them.
//
// Always given, so that the library never asks a terminal.
int give_password(char* to, int size, int /*for_writing*/, void* password) {
  const auto& p = *static_cast<const std::string*>(password);
  if (p.size() > static_cast<size_t>(size)) return -1;
  std::copy(p.begin(), p.end(), to);
  return static_cast<int>(p.size());
}

Status load_pem_chain(Identity& id, const Certificate& c, std::string_view name) {
  const Error failed{fmt::format("Failed to load certificate chain from {}", name)};
  BioPtr bio = reader(c.chain);
  if (!bio) return failed;
  id.leaf = read_certificate(bio.get());
  if (!id.leaf) return failed;
  while (X509Ptr next = read_certificate(bio.get())) sk_X509_push(id.chain.get(), next.release());
  if (!at_end_of_pem()) return failed;
  return {};
}

Status load_pem_key(Identity& id, const Certificate& c, std::string_view name) {
  BioPtr bio = reader(c.private_key);
  if (bio)
    id.key.reset(
        PEM_read_bio_PrivateKey(bio.get(), nullptr, give_password, const_cast<std::string*>(&c.password)));
  if (!id.key)
    return Error{fmt::format("Failed to load private key from {}, Cause: {}", name, first_error())};
  return {};
}

Status load_pkcs12(Identity& id, const Certificate& c, std::string_view name) {
  const auto* p = reinterpret_cast<const uint8_t*>(c.pkcs12.data());
  Owned<PKCS12, PKCS12_free> file(d2i_PKCS12(nullptr, &p, static_cast<long>(c.pkcs12.size())));
  EVP_PKEY* key = nullptr;
  X509* leaf = nullptr;
  STACK_OF(X509)* chain = nullptr;
  const bool ok = file && PKCS12_parse(file.get(), c.password.empty() ? nullptr : c.password.c_str(), &key,
                                       &leaf, &chain);
  id.key.reset(key);
  id.leaf.reset(leaf);
  if (chain) id.chain.reset(chain);
  if (!ok || !id.leaf) return Error{fmt::format("Failed to load pkcs12 from {}", name)};
  if (!id.key)
    return Error{fmt::format("Failed to load private key from {}, Cause: {}", name, first_error())};
  return {};
}

// The kinds and sizes of keys that Envoy takes.
Status check_key(Identity& id, std::string_view name) {
  EVP_PKEY* key = X509_get0_pubkey(id.leaf.get());
  if (!key) return Error{fmt::format("Failed to load certificate chain from {}", name)};
  id.kind = EVP_PKEY_get_base_id(key);
  if (id.kind == EVP_PKEY_EC) {
    char group[64] = "";
    EVP_PKEY_get_group_name(key, group, sizeof group, nullptr);
    id.curve = OBJ_txt2nid(group);
    if (id.curve != NID_X9_62_prime256v1 && id.curve != NID_secp384r1 && id.curve != NID_secp521r1) {
      return Error{
          fmt::format("Failed to load certificate chain from {}, only P-256, P-384 or P-521 ECDSA "
                      "certificates are supported",
                      name)};
    }
  } else if (id.kind == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < 2048) {
    return Error{
        fmt::format("Failed to load certificate chain from {}, only RSA certificates with 2048-bit or larger "
                    "keys are supported",
                    name)};
  }
  return {};
}

bool asks_for_staple(X509* leaf) {
  Owned<ASN1_OBJECT, ASN1_OBJECT_free> oid(OBJ_txt2obj("1.3.6.1.5.5.7.1.24", 1));
  const int at = X509_get_ext_by_OBJ(leaf, oid.get(), -1);
  return at >= 0 &&
         view(X509_EXTENSION_get_data(X509_get_ext(leaf, at))) == std::string_view("\x30\x03\x02\x01\x05", 5);
}

}  // namespace

Result<Identity> load_identity(const Certificate& c, std::string_view chain_name, std::string_view key_name) {
  clear_errors();
  Identity id;
  id.chain.reset(sk_X509_new_null());
  if (!c.pkcs12.empty()) {
    SLUICE_TRY(load_pkcs12(id, c, chain_name));
    SLUICE_TRY(check_key(id, chain_name));
  } else {
    SLUICE_TRY(load_pem_chain(id, c, chain_name));
    SLUICE_TRY(check_key(id, chain_name));
    SLUICE_TRY(load_pem_key(id, c, key_name));
  }
  if (!X509_check_private_key(id.leaf.get(), id.key.get()))
    return Error{fmt::format("Failed to load private key from {}, Cause: {}", key_name, first_error())};
  id.must_staple = asks_for_staple(id.leaf.get());
  if (!c.ocsp_staple.empty()) {
    SLUICE_ASSIGN(id.ocsp, parse_ocsp(c.ocsp_staple));
    if (id.ocsp->serial != serial_of(id.leaf.get()))
      return Error{"OCSP response does not match its TLS certificate"};
  } else if (id.must_staple) {
    return Error{"OCSP response is required for must-staple certificate"};
  }
  clear_errors();
  return id;
}

Status check(const Certificate& certificate, std::string_view chain_name, std::string_view key_name) {
  auto identity = load_identity(certificate, chain_name, key_name);
  if (!identity.ok()) return std::move(identity).error();
  return {};
}

}  // namespace sluice::tls
