#pragma once
// What every part of tls_micro uses: the settings, errors, the clock, the allocations of the server's calls.
#define OPENSSL_SUPPRESS_DEPRECATED  // the overlay: SHA256_*, without a fetch and a context for each
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#if defined(OPENSSL_IS_BORINGSSL) || defined(OPENSSL_IS_AWSLC)
#define OTHER_LIBRARY 1
#else
#define OTHER_LIBRARY 0
#endif

namespace tls_micro {

// What the overlay provider changes: see tls_micro_overlay.h.
enum : int { kFewer = 1, kQuickCheck = 2, kFastKdf = 4, kAll = 7 };

enum class Key { kP256, kRsa2048 };
enum class Bios { kMemory, kSpan };

// One way to set the server up.
struct Setting {
  std::string name;
  Key key = Key::kP256;
  const char* groups = "P-256";  // what the client offers
  int version = TLS1_3_VERSION;
  bool resume = false;  // PSK with ECDHE from a ticket (1.2: ticket)
  bool mutual = false;  // the client has a certificate, the server verifies it
  int tickets = 2;  // how many the server sends after a full handshake
  bool no_ticket = false;  // SSL_OP_NO_TICKET: 1.3 stateful tickets, 1.2 session IDs
  bool cache_off = false;  // SSL_SESS_CACHE_OFF
  bool own_libctx = false;  // an OSSL_LIB_CTX for each thread
  int overlay = 0;  // an OSSL_LIB_CTX with the default provider seen through a filter: see Overlay
  bool release_buffers = false;  // SSL_MODE_RELEASE_BUFFERS
  bool read_ahead = false;
  bool reuse = false;  // SSL_clear instead of SSL_free and SSL_new
  int security_level = -1;
  bool narrow = false;  // one group, one cipher suite and one signature algorithm at the server
  Bios bios = Bios::kMemory;
  bool no_chain = false;  // SSL_MODE_NO_AUTO_CHAIN
  bool custom_verify = false;  // mutual: the whole X509_verify_cert replaced by a callback that accepts
};

[[noreturn]] inline void die(const char* what) {
  std::fprintf(stderr, "tls_micro: %s\n", what);
  ERR_print_errors_fp(stderr);
  std::exit(1);
}
inline void check(bool ok, const char* what) {
  if (!ok) die(what);
}

inline double cpu_us() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

// ---- allocations of the server's calls ----
struct Count {
  long live = 0, calls = 0;  // bytes, allocations
};
inline Count g_count;
inline bool g_serving = false;
struct alignas(16) Header {
  size_t size;
  bool counted;
};
inline void* count_malloc(size_t n, const char*, int) {
  auto* h = static_cast<Header*>(std::malloc(sizeof(Header) + n));
  *h = {n, g_serving};
  if (g_serving) g_count.live += static_cast<long>(n), ++g_count.calls;
  return h + 1;
}
inline void count_free(void* p, const char*, int) {
  if (!p) return;
  Header* h = static_cast<Header*>(p) - 1;
  if (h->counted) g_count.live -= static_cast<long>(h->size);
  std::free(h);
}
inline void* count_realloc(void* p, size_t n, const char* f, int l) {
  if (!p) return count_malloc(n, f, l);
  Header* h = static_cast<Header*>(p) - 1;
  if (h->counted) g_count.live += static_cast<long>(n) - static_cast<long>(h->size), ++g_count.calls;
  h = static_cast<Header*>(std::realloc(h, sizeof(Header) + n));
  h->size = n;
  return h + 1;
}
struct Serving {
  Serving() { g_serving = true; }
  ~Serving() { g_serving = false; }
};

}  // namespace tls_micro
