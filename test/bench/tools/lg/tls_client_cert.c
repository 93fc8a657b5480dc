// The client's certificate (--cert, --key), where a server asks for one: RFC 8446, 4.4.2 and 4.4.3.
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "lg.h"

static EVP_PKEY* key;
static uint8_t message[4096];  // Certificate: the same in every handshake
static size_t message_len;
static EVP_MD* sha256;

void t_load_certificate(void) {
  if (!o_cert) return;
  FILE* f = fopen(o_cert, "r");
  X509* x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
  if (f) fclose(f);
  f = fopen(o_key ? o_key : o_cert, "r");
  key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
  if (f) fclose(f);
  uint8_t* der = NULL;
  int n = x ? i2d_X509(x, &der) : 0;
  if (n <= 0 || n > 3000 || !key) die("--cert, --key");
  // empty context; a list of one entry, which has no extensions
  size_t list = 3 + n + 2, body = 1 + 3 + list;
  uint8_t* p = message;
  *p++ = 11, *p++ = 0, *p++ = body >> 8, *p++ = body;
  *p++ = 0;
  *p++ = 0, *p++ = list >> 8, *p++ = list;
  *p++ = 0, *p++ = n >> 8, *p++ = n;
  memcpy(p, der, n), p += n;
  *p++ = 0, *p++ = 0;
  message_len = p - message;
  OPENSSL_free(der);
  X509_free(x);
  sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

int t_have_certificate(void) {
  return message_len != 0;
}

size_t t_certificate(uint8_t* out) {
  memcpy(out, message, message_len);
  return message_len;
}

size_t t_certificate_verify(const uint8_t* transcript, uint8_t* out) {
  static const char context[] = "TLS 1.3, client CertificateVerify";  // its final 0 is part of what is signed
  uint8_t text[64 + sizeof context + HL], hash[HL];
  memset(text, ' ', 64);
  memcpy(text + 64, context, sizeof context);
  memcpy(text + 64 + sizeof context, transcript, HL);
  SHA256(text, sizeof text, hash);
  size_t n = 256;
  EVP_PKEY_CTX* x = EVP_PKEY_CTX_new(key, NULL);
  int ok = x && EVP_PKEY_sign_init(x) == 1 && EVP_PKEY_CTX_set_signature_md(x, sha256) == 1 &&
           EVP_PKEY_sign(x, out + 8, &n, hash, HL) == 1;
  EVP_PKEY_CTX_free(x);
  if (!ok) return 0;
  out[0] = 15, out[1] = 0, out[2] = (n + 4) >> 8, out[3] = n + 4;
  out[4] = 4, out[5] = 3;  // ecdsa_secp256r1_sha256
  out[6] = n >> 8, out[7] = n;
  return 8 + n;
}
