// TLS 1.2 resumed from a ticket. A server spends so little on one that the client can be OpenSSL itself.
#define _GNU_SOURCE
#include <openssl/ssl.h>

#include "lg.h"

typedef struct {
  int fd, up, sent;
  SSL* ssl;
  uint64_t start;
  char resp[2048];
  size_t resp_len;
} Conn12;
static SSL_CTX* ctx;
static SSL_SESSION* session;
static char req[512];
static int req_len;

static void c_open(Conn12* c, int seq) {
  c->start = now_ns();
  c->up = c->sent = 0;
  c->resp_len = 0;
  c->fd = dial(seq, 1);
  if (c->fd < 0) die("connect");
  c->ssl = SSL_new(ctx);
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_tlsext_host_name(c->ssl, o_host);
  SSL_set_connect_state(c->ssl);
  if (session) SSL_set_session(c->ssl, session);
  ep_add(c->fd, EPOLLOUT, c);
}
static void c_close(Conn12* c) {
  SSL_set_quiet_shutdown(c->ssl, 1);  // a session whose connection ended badly would not be resumed again
  SSL_shutdown(c->ssl);
  SSL_free(c->ssl);
  close(c->fd);
}
static int again(SSL* s, int r) {
  int e = SSL_get_error(s, r);
  return e == SSL_ERROR_WANT_READ ? 0 : -1;  // what is written here always fits
}
// 1: response complete, 0: more, -1: error
static int c_run(Conn12* c) {
  if (!c->up) c->up = 1, ep_mod(c->fd, EPOLLIN, c);
  if (!c->sent) {
    int r = SSL_do_handshake(c->ssl);
    if (r != 1) return again(c->ssl, r);
    if (SSL_write(c->ssl, req, req_len) != req_len) return -1;
    c->sent = 1;
  }
  for (;;) {
    int r = SSL_read(c->ssl, c->resp + c->resp_len, sizeof c->resp - c->resp_len);
    if (r <= 0) return again(c->ssl, r);
    c->resp_len += r;
    char* e = memmem(c->resp, c->resp_len, "\r\n\r\n", 4);
    if (!e) continue;
    if (memcmp(c->resp + 9, "200", 3)) return -1;
    long cl = -1;
    for (char* p = memchr(c->resp, '\n', e - c->resp); p; p = memchr(p + 1, '\n', e - p - 1))
      if (!strncasecmp(p + 1, "content-length:", 15)) cl = strtol(p + 16, NULL, 10);
    size_t want = e + 4 - c->resp + cl;
    if (cl < 0 || c->resp_len > want) return -1;
    if (c->resp_len == want) return 1;
  }
}

int run_tls12(void) {
  ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256");
  req_len = snprintf(req, sizeof req, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", o_path, o_host);
  Conn12* cs = calloc(o_c, sizeof *cs);
  struct epoll_event evs[256];
  c_open(&cs[0], 0);  // a full handshake for the session
  uint64_t stop = now_ns() + 5000000000ull;
  int r = 0;
  while (r == 0 && now_ns() < stop)
    if (ep_wait(evs, 1, stop)) r = c_run(&cs[0]);
  if (r == 1) session = SSL_get1_session(cs[0].ssl);
  if (!session || !SSL_SESSION_has_ticket(session))
    return fprintf(stderr, "lg: the server sent no TLS 1.2 session ticket\n"), 2;
  c_close(&cs[0]);
  int seq = 1;
  start_clock();
  for (int i = 0; i < o_c; i++) c_open(&cs[i], seq++);
  while (now_ns() < t_end) {
    int n = ep_wait(evs, 256, t_end);
    for (int i = 0; i < n; i++) {
      Conn12* c = evs[i].data.ptr;
      r = c_run(c);
      if (r == 0) continue;
      if (r < 0) {
        if (++n_err > 200) die("too many errors");
      } else {
        if (SSL_session_reused(c->ssl))
          n_resumed++;
        else
          n_full++;
        record(c->start, now_ns());
      }
      c_close(c);
      c_open(c, seq++);
    }
  }
  char x[128];
  snprintf(x, sizeof x, ",\"full\":%llu,\"resumed\":%llu", (unsigned long long)n_full,
           (unsigned long long)n_resumed);
  report(x);
  return n_err != 0;
}
