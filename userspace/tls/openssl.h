#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/time.h"
#include "tls/library.h"

// What owns OpenSSL's objects, and small conversions. Of this folder alone.
namespace sluice::tls {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
template <typename T, auto kFree>
using Owned = std::unique_ptr<T, Freer<kFree>>;

struct FreeCertificates {
  void operator()(STACK_OF(X509) * s) const { sk_X509_pop_free(s, X509_free); }
};

using BioPtr = Owned<BIO, BIO_free>;
using X509Ptr = Owned<X509, X509_free>;
using X509sPtr = std::unique_ptr<STACK_OF(X509), FreeCertificates>;
using PkeyPtr = Owned<EVP_PKEY, EVP_PKEY_free>;
using StorePtr = Owned<X509_STORE, X509_STORE_free>;
using StoreCtxPtr = Owned<X509_STORE_CTX, X509_STORE_CTX_free>;
using SslCtxPtr = Owned<SSL_CTX, SSL_CTX_free>;
using SslPtr = Owned<SSL, SSL_free>;
using SessionPtr = Owned<SSL_SESSION, SSL_SESSION_free>;
using NamesPtr = Owned<GENERAL_NAMES, GENERAL_NAMES_free>;

inline X509Ptr share(X509* x) {
  if (x) X509_up_ref(x);
  return X509Ptr(x);
}
// A BIO that reads `bytes`, which must outlive it. Null: too large.
BioPtr reader(std::string_view bytes);
X509Ptr read_certificate(BIO* pem);  // the next one; null: none, and the reason is on the error queue
X509Ptr parse_certificate(std::string_view der);
// True where the last error says that the PEM text has no further object, which is then no error: the queue is cleared.
bool at_end_of_pem();

std::string to_text(BIO* memory);  // what was written to a memory BIO
std::string hex(std::span<const uint8_t> bytes);  // lower case
std::string digest(const EVP_MD* md, std::string_view bytes);
std::string der_of(X509* certificate);
WallTime to_wall(const ASN1_TIME* time);
time_t to_seconds(WallTime time);
inline std::string_view view(const ASN1_STRING* s) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)),
          static_cast<size_t>(std::max(0, ASN1_STRING_length(s)))};
}

}  // namespace sluice::tls
