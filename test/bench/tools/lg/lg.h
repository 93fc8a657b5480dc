// lg: the load generator of the bench. One thread, epoll; prints one line of JSON.
//
// - lg http: HTTP/1.1 keep-alive, closed loop, or open loop at --rate (latency from the intended start)
// - lg h2: gRPC-like POSTs over HTTP/2 with prior knowledge, at --rate (or closed loop, --streams on each connection)
// - lg h2stream: bidirectional gRPC streams that stay open for --n messages: each when the one before has come back
// - lg pingpong: small-message echo over long-lived connections
// - lg cps: connect, send, receive, close
// - lg bulk: sendfile() to the backend's sink, FIN, wait for the sink's byte count
// - lg vecho: check: sends --len pattern bytes to an echo server, compares what comes back, checks half-close
// - lg tls: TLS 1.3 handshakes (full or --resume; exchange on P-256 or --x25519; --cert FILE --key FILE: a client
//   certificate, P-256, where the server asks for one), one small request on each, close
// - lg tls12: TLS 1.2 handshakes resumed from a ticket, with OpenSSL as the client
// - lg tlsbulk: downloads over TLS, as much as comes, or uploads (--up), counted by the sink's answers
// - lg idle: opens -n connections (--tls: with TLS), one request on each (--silent: none), holds them until stdin ends
// - lg probe: how fast this core runs now: ns for a turn of a throughput-bound loop (doubles when a hyperthread shares
//   the core)
//
// The TLS client is a generator, not a client: TLS 1.3, TLS_AES_128_GCM_SHA256, P-256 or X25519 only. Its P-256 private
// key is 1 (its key share is the group's generator), so the shared secret is the server's own share and costs nothing
// here; with X25519, which clamps its keys, it has one key for all and multiplies once a handshake. It checks the
// server's Finished MAC, not the certificate. To a server it is an ordinary full handshake. The harness checks
// certificates and contents with a real client before it times anything.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#define OPENSSL_SUPPRESS_DEPRECATED  // the low-level SHA-256 calls: much cheaper per call than EVP
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// ---- latency histogram: 64 steps per power of two (1.6 %) ----
#define HIST_SIZE (64 * 128)
extern uint64_t hist[HIST_SIZE], hist_n, hist_max;
extern double hist_sum;
double hist_q(double q);  // microseconds

// ---- options (main.c sets them) ----
extern const char *o_addr, *o_path, *o_host, *o_hosts, *o_cert, *o_key;
extern int o_ports[64], o_nports, o_c, o_size, o_resume, o_tls, o_streams, o_x25519, o_silent, o_up;
extern double o_dur, o_warm, o_rate, o_hold;
extern long o_expect, o_n;
extern struct sockaddr_in o_sa[64];

// ---- what every mode uses ----
#define SCRATCH_SIZE (1 << 20)
extern int ep;
extern char scratch[SCRATCH_SIZE];
extern uint64_t n_ok, n_err, n_all, bytes_in, t_begin, t_warm, t_end;

void die(const char* m);
void pattern(char* p, size_t n);
int dial(int which, int nonblock);
void ep_add(int fd, uint32_t ev, void* p);
void ep_mod(int fd, uint32_t ev, void* p);
int ep_wait(struct epoll_event* evs, int n, uint64_t until);
void report(const char* extra);
void start_clock(void);

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static inline void hist_add(uint64_t ns) {
  int b = ns < 128 ? 0 : 63 - __builtin_clzll(ns) - 6;
  hist[b * 128 + (ns >> b)]++;  // ns >> b is 64..127 when b > 0
  hist_n++;
  hist_sum += ns;
  if (ns > hist_max) hist_max = ns;
}
static inline void record(uint64_t start, uint64_t t) {
  n_all++;
  if (t >= t_warm && t < t_end) {
    n_ok++;
    hist_add(t - start);
  }
}

// ---- HTTP/1 connections (http.c; idle.c opens them too) ----
typedef struct {
  int fd, id, busy, host;
  uint64_t start;
  char head[4096];
  size_t head_len;
  long body_left;  // -1: in the head
} HConn;
void load_hosts(void);
int h_send(HConn* c, uint64_t start);
int h_recv(HConn* c);  // 1: response complete and right, 0: more to come, -1: wrong
void h_open(HConn* c);

// ---- HTTP/2 (h2.c; h2stream.c uses it too) ----
static inline void h2_hdr(uint8_t* p, uint32_t len, int type, int flags, uint32_t id) {
  p[0] = len >> 16, p[1] = len >> 8, p[2] = len, p[3] = type, p[4] = flags;
  p[5] = id >> 24, p[6] = id >> 16, p[7] = id >> 8, p[8] = id;
}
size_t h2_headers(uint8_t* out);  // a gRPC request's HEADERS frame, without its stream's id
void h2_preface(int fd);

// ---- TLS connections (tls_handshake.c; tls.c and idle.c open them) ----
#define HL 32
typedef struct {
  uint8_t key[16], iv[12];
  uint64_t seq;
} Keys;
typedef struct {
  int fd, id, st, up, resumed, want_ticket, asked;
  uint64_t start;
  uint8_t* buf;  // raw input
  size_t len, cap;
  uint8_t* hs;  // decrypted handshake bytes not yet parsed
  size_t hs_len, hs_cap;
  SHA256_CTX tr;  // transcript
  uint8_t hs_secret[HL], c_hs[HL], s_hs[HL], master[HL], res_master[HL], fin_hash[HL];
  Keys rd, wr;
  size_t body, want;
  uint8_t resp[512];
  size_t resp_len;
} TConn;
extern uint64_t n_resumed, n_full;
void t_load_certificate(void);
int t_have_certificate(void);
size_t t_certificate(uint8_t* out);  // the message, for the transcript and the record; its length
size_t t_certificate_verify(const uint8_t* transcript, uint8_t* out);  // 0: signing failed
extern size_t tk_len;  // of the session ticket held for --resume; 0: none yet
void t_init(void);
void t_open(TConn* c, int seq);
int t_connected(TConn* c);  // the connection became writable: start the handshake; 0 ok
int t_read(TConn* c);  // 1: response complete, 0: more, -1: error
int t_request(TConn* c, const uint8_t* pre, size_t pren);
size_t t_seal(TConn* c, const uint8_t* in, size_t n,
              uint8_t* out);  // a record of application data; returns its length
// decrypts the record in place; returns the plaintext's length and its type, -1 when the tag is wrong
long t_unseal(TConn* c, uint8_t* rec, size_t n, int* type);

// ---- modes: the exit status ----
int run_http(void);
int run_h2(void);
int run_h2stream(void);
int run_pingpong(int reconnect);
int run_bulk(void);
int run_vecho(void);
int run_tls(void);
int run_idle(void);
int run_tls12(void);
int run_tlsbulk(void);
int run_probe(void);
