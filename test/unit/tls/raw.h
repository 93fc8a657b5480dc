#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <string>

#include "test/unit/tls/rig.h"

namespace sluice::tls::test {

// A peer of OpenSSL's own, for what our side never does: ask for a staple, update keys, renegotiate.
struct Raw {
  SSL_CTX* ctx;
  SSL* ssl;
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  std::string got;
  int error = SSL_ERROR_NONE;

  explicit Raw(bool server, const PemPair* pair = nullptr) : ctx(SSL_CTX_new(TLS_method())) {
    SSL_CTX_set_security_level(ctx, 0);
    ssl = SSL_new(ctx);
    SSL_set_bio(ssl, in, out);
    server ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
    if (pair) show(*pair);
  }
  Raw(const Raw&) = delete;
  ~Raw() {
    SSL_free(ssl);
    SSL_CTX_free(ctx);
  }
  void show(const PemPair& pair) {
    BIO* b = BIO_new_mem_buf(pair.certificate.data(), -1);
    X509* x = PEM_read_bio_X509(b, nullptr, nullptr, nullptr);
    BIO_free(b);
    b = BIO_new_mem_buf(pair.key.data(), -1);
    EVP_PKEY* key = PEM_read_bio_PrivateKey(b, nullptr, nullptr, nullptr);
    BIO_free(b);
    SSL_use_certificate(ssl, x);
    SSL_use_PrivateKey(ssl, key);
    X509_free(x);
    EVP_PKEY_free(key);
  }
  // Takes what `end` has said, and says what it has to say.
  bool turn(Bed& bed, End& end) {
    ERR_clear_error();
    const std::string bytes = end.out.to_string();
    end.out.clear();
    if (!bytes.empty()) BIO_write(in, bytes.data(), static_cast<int>(bytes.size()));
    char buffer[20000];
    for (int n; (n = SSL_read(ssl, buffer, sizeof buffer)) > 0;) got.append(buffer, static_cast<size_t>(n));
    error = SSL_get_error(ssl, -1);
    ERR_clear_error();
    return say(bed, end) || !bytes.empty();
  }
  bool say(Bed& bed, End& end) {
    char* data = nullptr;
    const long n = BIO_get_mem_data(out, &data);
    if (n <= 0) return false;
    end.in.append(bed.loop.blocks(), {data, static_cast<size_t>(n)});
    (void)BIO_reset(out);
    if (end.status != State::failed) end.receive();
    return true;
  }
  void run(Bed& bed, End& end) {
    while (turn(bed, end)) {
    }
  }
};

}  // namespace sluice::tls::test
