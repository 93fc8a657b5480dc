#pragma once
// A server and a client in one process, and what the server's calls cost.
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tls_micro_base.h"  // first: it says which API of OpenSSL is meant

#if !OTHER_LIBRARY
#include "tls_micro_overlay.h"
#endif

namespace tls_micro {

// ---- a small CA ----
inline EVP_PKEY* make_key(Key kind) {
  EVP_PKEY_CTX* ctx = EVP_PKEY_CTX_new_id(kind == Key::kP256 ? EVP_PKEY_EC : EVP_PKEY_RSA, nullptr);
  EVP_PKEY* key = nullptr;
  check(EVP_PKEY_keygen_init(ctx) == 1, "keygen");
  if (kind == Key::kP256)
    check(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1) == 1, "curve");
  else
    check(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) == 1, "bits");
  check(EVP_PKEY_keygen(ctx, &key) == 1, "keygen");
  EVP_PKEY_CTX_free(ctx);
  return key;
}

inline X509* make_cert(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  static long serial = 1;
  X509* x = X509_new();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 86400);
  X509_set_pubkey(x, key);
  X509_NAME* subject = X509_NAME_new();
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1,
                             -1, 0);
  X509_set_subject_name(x, subject);
  X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject);
  X509_NAME_free(subject);
  X509V3_CTX v3;
  X509V3_set_ctx(&v3, issuer ? issuer : x, x, nullptr, nullptr, 0);
  const std::string san = std::string("DNS:bench.local,URI:spiffe://cluster.local/ns/default/sa/") + name;
  const auto add = [&](int nid, const char* value) {
    X509_EXTENSION* e = X509V3_EXT_nconf_nid(nullptr, &v3, nid, const_cast<char*>(value));
    check(e && X509_add_ext(x, e, -1), "extension");
    X509_EXTENSION_free(e);
  };
  add(NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
  if (issuer) add(NID_subject_alt_name, san.c_str());
  check(X509_sign(x, issuer_key, EVP_sha256()) > 0, "sign");
  return x;
}

struct Ca {
  EVP_PKEY* ca_key = make_key(Key::kP256);
  X509* ca = make_cert("ca", ca_key, nullptr, ca_key);
  EVP_PKEY* keys[2] = {make_key(Key::kP256), make_key(Key::kRsa2048)};
  X509* certs[2] = {make_cert("p256", keys[0], ca, ca_key), make_cert("rsa", keys[1], ca, ca_key)};
};

// ---- BIOs ----
// What a sans-IO engine could use in place of memory BIOs: reads from a span, appends to a fixed buffer, moves nothing.
struct Pipe {
  std::span<const uint8_t> in;
  std::vector<uint8_t> out;
};
inline int span_read(BIO* b, char* to, int n) {
  Pipe* p = static_cast<Pipe*>(BIO_get_data(b));
  BIO_clear_retry_flags(b);
  const size_t k = std::min<size_t>(n, p->in.size());
  if (k == 0) {
    BIO_set_retry_read(b);
    return -1;
  }
  std::memcpy(to, p->in.data(), k);
  p->in = p->in.subspan(k);
  return static_cast<int>(k);
}
inline int span_write(BIO* b, const char* from, int n) {
  Pipe* p = static_cast<Pipe*>(BIO_get_data(b));
  p->out.insert(p->out.end(), from, from + n);
  return n;
}
inline long span_ctrl(BIO*, int cmd, long, void*) {
  return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}
inline BIO_METHOD* span_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "span");
    BIO_meth_set_read(m, span_read);
    BIO_meth_set_write(m, span_write);
    BIO_meth_set_ctrl(m, span_ctrl);
    return m;
  }();
  return method;
}

// ---- one setting, ready to run ----
inline SSL_SESSION* g_session_slot(SSL_SESSION* put, bool set) {
  thread_local SSL_SESSION* held = nullptr;
  if (set) std::swap(held, put);
  return set ? put : held;
}
inline int on_session(SSL*, SSL_SESSION* session) {
  if (SSL_SESSION* old = g_session_slot(session, true)) SSL_SESSION_free(old);
  return 1;
}

class Bench {
 public:
  Bench(const Setting& s, const Ca& ca) : s_(s) {
    server_ = context(true);
    client_ = context(false);
    const int k = static_cast<int>(s.key);
    check(SSL_CTX_use_certificate(server_, ca.certs[k]) == 1 &&
              SSL_CTX_use_PrivateKey(server_, ca.keys[k]) == 1,
          "certificate");
    SSL_CTX_set_alpn_select_cb(
        server_,
        [](SSL*, const unsigned char** out, unsigned char* n, const unsigned char*, unsigned, void*) {
          *out = reinterpret_cast<const unsigned char*>("http/1.1");
          *n = 8;
          return SSL_TLSEXT_ERR_OK;
        },
        nullptr);
    static const unsigned char id[] = "bench";
    SSL_CTX_set_session_id_context(server_, id, 5);
#if !OTHER_LIBRARY
    SSL_CTX_set_num_tickets(server_, s.tickets);
    if (s.security_level >= 0) SSL_CTX_set_security_level(server_, s.security_level);
#endif
    if (s.no_ticket || s.tickets == 0) SSL_CTX_set_options(server_, s.no_ticket ? SSL_OP_NO_TICKET : 0);
    if (s.cache_off) SSL_CTX_set_session_cache_mode(server_, SSL_SESS_CACHE_OFF);
    if (s.release_buffers) SSL_CTX_set_mode(server_, SSL_MODE_RELEASE_BUFFERS);
    if (s.no_chain) SSL_CTX_set_mode(server_, SSL_MODE_NO_AUTO_CHAIN);
    if (s.read_ahead) SSL_CTX_set_read_ahead(server_, 1);
    if (s.narrow) {
      SSL_CTX_set1_groups_list(server_, s.groups);
      SSL_CTX_set1_sigalgs_list(server_,
                                s.key == Key::kP256 ? "ecdsa_secp256r1_sha256" : "rsa_pss_rsae_sha256");
#if !OTHER_LIBRARY
      SSL_CTX_set_ciphersuites(server_, "TLS_AES_128_GCM_SHA256");
#endif
    }
    if (s.mutual) {
      SSL_CTX_set_verify(server_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      X509_STORE_add_cert(SSL_CTX_get_cert_store(server_), ca.ca);
      SSL_CTX_use_certificate(client_, ca.certs[0]);
      SSL_CTX_use_PrivateKey(client_, ca.keys[0]);
      if (s.custom_verify)
        SSL_CTX_set_cert_verify_callback(server_, [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
    }
    check(SSL_CTX_set1_groups_list(client_, s.groups) == 1, "groups");
#if !OTHER_LIBRARY
    SSL_CTX_set_ciphersuites(client_, "TLS_AES_128_GCM_SHA256");
#endif
    SSL_CTX_set_cipher_list(client_, "ECDHE+AESGCM");
    SSL_CTX_set_session_cache_mode(client_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_, on_session);
    if (s.resume) once(false);
  }
  ~Bench() {
    if (kept_) SSL_free(kept_);
    if (open_) SSL_free(open_), SSL_free(open_client_);
    SSL_CTX_free(server_);
    SSL_CTX_free(client_);
#if !OTHER_LIBRARY
    if (s_.overlay) OSSL_LIB_CTX_set0_default(OSSL_LIB_CTX_get0_global_default());
    OSSL_LIB_CTX_free(libctx_);
#endif
    if (SSL_SESSION* old = g_session_slot(nullptr, true)) SSL_SESSION_free(old);
  }
  Bench(const Bench&) = delete;

  // One more connection that stays open until the end of the process.
  void open_another() {
    keep_open_ = true;
    once(s_.resume);
    open_ = open_client_ = nullptr;
    keep_open_ = false;
  }

  // What a record of so many bytes costs the server: {write, read}, the mean of 16.
  std::pair<double, double> records(size_t size) {
    keep_open_ = true;
    if (!open_) once(s_.resume);
    keep_open_ = false;
    constexpr int kMany = 16;
    std::vector<uint8_t> plain(size, 'x'), wire, to(size);
    double t = cpu_us();
    for (int i = 0; i < kMany; ++i)
      check(SSL_write(open_, plain.data(), static_cast<int>(size)) == static_cast<int>(size), "write");
    const double w = cpu_us() - t;
    take(open_, wire);
    BIO_write(SSL_get_rbio(open_client_), wire.data(), static_cast<int>(wire.size()));
    for (int i = 0; i < kMany; ++i) {
      check(SSL_read(open_client_, to.data(), static_cast<int>(size)) == static_cast<int>(size),
            "client read");
      SSL_write(open_client_, plain.data(), static_cast<int>(size));
    }
    const size_t n = BIO_ctrl_pending(SSL_get_wbio(open_client_));
    wire.resize(n);
    BIO_read(SSL_get_wbio(open_client_), wire.data(), static_cast<int>(n));
    t = cpu_us();
    give(open_, wire);
    for (int i = 0; i < kMany; ++i)
      check(SSL_read(open_, to.data(), static_cast<int>(size)) == static_cast<int>(size), "read");
    return {w / kMany, (cpu_us() - t) / kMany};
  }

  // n handshakes; microseconds of the server for each.
  double batch(int n) {
    spent_ = 0;
    for (int i = 0; i < n; ++i) once(s_.resume);
    return spent_ / n;
  }

 private:
  SSL_CTX* context(bool server) {
#if !OTHER_LIBRARY
    if (server && s_.own_libctx) libctx_ = OSSL_LIB_CTX_new();
    if (server && s_.overlay) libctx_ = overlay_libctx(s_.overlay);
    SSL_CTX* c = SSL_CTX_new_ex(server ? libctx_ : nullptr, nullptr,
                                server ? TLS_server_method() : TLS_client_method());
#else
    SSL_CTX* c = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
#endif
    check(c, "SSL_CTX_new");
    SSL_CTX_set_min_proto_version(c, server ? TLS1_2_VERSION : s_.version);
    SSL_CTX_set_max_proto_version(c, server ? TLS1_3_VERSION : s_.version);
    return c;
  }

  // Everything the server does; the names matter to callgrind's --toggle-collect.
  __attribute__((noinline)) SSL* serve_open() {
    const Serving serving;
    SSL* s = kept_;
    kept_ = nullptr;
    if (!s) {
      s = SSL_new(server_);
      if (s_.bios == Bios::kSpan) {
        BIO* b = BIO_new(span_method());
        BIO_set_data(b, &pipe_);
        BIO_set_init(b, 1);
        BIO_up_ref(b);
        SSL_set_bio(s, b, b);
      } else
        SSL_set_bio(s, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    }
    SSL_set_accept_state(s);
    return s;
  }
  __attribute__((noinline)) void serve_step(SSL* s, std::span<const uint8_t> in, std::vector<uint8_t>& out,
                                            bool& got) {
    const Serving serving;
    give(s, in);
    const int r = SSL_do_handshake(s);
    if (r != 1 && SSL_get_error(s, r) != SSL_ERROR_WANT_READ) die("server handshake");
    if (r == 1) {
      char request[1024];
      const int n = SSL_read(s, request, sizeof request);
      if (n > 0) {
        got = true;
        check(SSL_write(s, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 38) == 38, "server write");
      }
    }
    take(s, out);
  }
  void give(SSL* s, std::span<const uint8_t> in) {
    if (s_.bios == Bios::kSpan)
      pipe_.in = in;
    else if (!in.empty())
      BIO_write(SSL_get_rbio(s), in.data(), static_cast<int>(in.size()));
  }
  void take(SSL* s, std::vector<uint8_t>& out) {
    if (s_.bios == Bios::kSpan) {
      out = pipe_.out;
      pipe_.out.clear();
    } else if (const size_t n = BIO_ctrl_pending(SSL_get_wbio(s))) {
      out.resize(n);
      BIO_read(SSL_get_wbio(s), out.data(), static_cast<int>(n));
    }
  }
  __attribute__((noinline)) void serve_close(SSL* s) {
    const Serving serving;
    if (s_.reuse) {
      SSL_set_quiet_shutdown(s, 1);
      SSL_shutdown(s);
      check(SSL_clear(s) == 1, "SSL_clear");
      kept_ = s;
    } else
      SSL_free(s);
  }

  void once(bool resume) {
    double t = cpu_us();
    SSL* s = serve_open();
    spent_ += cpu_us() - t;
    SSL* c = SSL_new(client_);
    SSL_set_tlsext_host_name(c, "bench.local");
    SSL_set_alpn_protos(c, reinterpret_cast<const unsigned char*>("\x08http/1.1"), 9);
    SSL_set_bio(c, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(c);
    if (resume) check(SSL_set_session(c, g_session_slot(nullptr, false)) == 1, "no session to resume");
    std::vector<uint8_t> up, down;
    bool sent = false, got = false, answered = false;
    for (int step = 0; step < 12 && !answered; ++step) {
      const int r = SSL_do_handshake(c);
      if (r != 1 && SSL_get_error(c, r) != SSL_ERROR_WANT_READ) die("client handshake");
      if (r == 1 && !sent) {
        check(SSL_write(c, "GET / HTTP/1.1\r\nhost: bench.local\r\n\r\n", 37) == 37, "client write");
        sent = true;
      }
      char answer[1024];
      if (sent && SSL_read(c, answer, sizeof answer) > 0) answered = true;
      const size_t n = BIO_ctrl_pending(SSL_get_wbio(c));
      up.resize(n);
      if (n) BIO_read(SSL_get_wbio(c), up.data(), static_cast<int>(n));
      if (answered) break;
      t = cpu_us();
      serve_step(s, up, down, got);
      spent_ += cpu_us() - t;
      if (!down.empty()) BIO_write(SSL_get_rbio(c), down.data(), static_cast<int>(down.size()));
      down.clear();
    }
    check(got && answered, "no answer");
    check((SSL_session_reused(s) == 1) == resume, resume ? "not resumed" : "resumed");
    if (keep_open_) {
      open_ = s, open_client_ = c;
      return;
    }
    SSL_set_quiet_shutdown(c, 1);
    SSL_shutdown(c);
    SSL_free(c);
    t = cpu_us();
    serve_close(s);
    spent_ += cpu_us() - t;
  }

  Setting s_;
  SSL_CTX *server_ = nullptr, *client_ = nullptr;
#if !OTHER_LIBRARY
  OSSL_LIB_CTX* libctx_ = nullptr;
#endif
  SSL* kept_ = nullptr;
  bool keep_open_ = false;
  SSL *open_ = nullptr, *open_client_ = nullptr;  // what records() uses
  Pipe pipe_;
  double spent_ = 0;
};

}  // namespace tls_micro
