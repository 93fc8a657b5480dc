// backend: the origin server of the bench. One thread, epoll, no dependencies.
//
//   backend KIND:ADDR:PORT[:SIZE] ...
//
// KIND http  HTTP/1.1 keep-alive; GET /<n> answers 200 with n bytes of the pattern body, anything else 404
//      h2    HTTP/2 with prior knowledge; each request (any path) answers 200 application/grpc, SIZE bytes of
//            DATA (default 1024: one gRPC message), and trailers "grpc-status: 0"
//      h2echo the same with bidirectional streams: what comes goes back, trailers when the request ends
//      echo  sends back what it gets; half-closes after the peer did
//      source sends the pattern, over and over, until the peer closes
//      acksink discards as sink does; sends one byte for each MiB that has come
//      sink  discards in the kernel (MSG_TRUNC); at the peer's FIN sends the byte count (8 bytes, big endian)
//
// Body byte i is 'a' + (i * 7 + i / 251) % 26, so that a check can tell truncation, shift and reordering.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { K_HTTP, K_H2, K_H2ECHO, K_ECHO, K_SINK, K_ACKSINK, K_SOURCE };

typedef struct {
  int fd, kind, listener;
  uint32_t body;  // h2: bytes of DATA in a response
} Base;

typedef struct Conn {
  Base b;
  int want_out, closing, eof;
  // input
  char* in;
  size_t in_len, in_cap, skip;  // skip: request-body bytes still to drop (http)
  // output: either a reference to a constant buffer or own bytes
  const char* ref;
  size_t ref_len;
  char* out;
  size_t out_off, out_len, out_cap;
  uint64_t total;
  // h2
  int preface;
  int64_t conn_win, init_win;
  uint32_t consumed;
  uint32_t* pend;  // streams waiting for connection window
  size_t pend_n, pend_cap;
  uint32_t hdr_stream;  // HEADERS without END_HEADERS: waiting for CONTINUATION
  int hdr_end_stream;
} Conn;

static int ep;
static char scratch[1 << 20];

static void pattern(char* p, size_t n) {
  for (size_t i = 0; i < n; i++) p[i] = (char)('a' + (i * 7 + i / 251) % 26);
}

typedef struct {
  size_t n, len;
  char* buf;
} Resp;
static Resp resp[32];
static int nresp;

static Resp* get_resp(size_t n) {
  for (int i = 0; i < nresp; i++)
    if (resp[i].n == n) return &resp[i];
  if (nresp == 32 || n > (64u << 20)) return NULL;
  char h[256];
  int hl = snprintf(
      h, sizeof h,
      "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nserver: bench\r\ncontent-length: %zu\r\n\r\n", n);
  Resp* r = &resp[nresp++];
  r->n = n;
  r->len = hl + n;
  r->buf = malloc(r->len);
  memcpy(r->buf, h, hl);
  pattern(r->buf + hl, n);
  return r;
}
static const char not_found[] = "HTTP/1.1 404 Not Found\r\nserver: bench\r\ncontent-length: 0\r\n\r\n";

static void conn_close(Conn* c) {
  close(c->b.fd);
  free(c->in);
  free(c->out);
  free(c->pend);
  free(c);
}

static void set_out(Conn* c, int on) {
  if (c->want_out == on) return;
  c->want_out = on;
  struct epoll_event e = {.events = on ? EPOLLOUT : EPOLLIN, .data.ptr = c};
  epoll_ctl(ep, EPOLL_CTL_MOD, c->b.fd, &e);
}

static void out_add(Conn* c, const void* p, size_t n) {
  if (c->out_off == c->out_len) c->out_off = c->out_len = 0;
  if (c->out_len + n > c->out_cap) {
    if (c->out_off) {
      memmove(c->out, c->out + c->out_off, c->out_len - c->out_off);
      c->out_len -= c->out_off;
      c->out_off = 0;
    }
    while (c->out_len + n > c->out_cap) c->out_cap = c->out_cap ? c->out_cap * 2 : 4096;
    c->out = realloc(c->out, c->out_cap);
  }
  memcpy(c->out + c->out_len, p, n);
  c->out_len += n;
}

// 1: all sent, 0: would block, -1: dead
static int flush(Conn* c) {
  while (c->out_off < c->out_len) {
    ssize_t w = send(c->b.fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
    if (w < 0) return errno == EAGAIN ? 0 : errno == EINTR ? 0 : -1;
    c->out_off += w;
  }
  while (c->ref_len) {
    ssize_t w = send(c->b.fd, c->ref, c->ref_len, MSG_NOSIGNAL);
    if (w < 0) return errno == EAGAIN ? 0 : -1;
    c->ref += w;
    c->ref_len -= w;
  }
  return 1;
}

static int lower(int ch) {
  return ch >= 'A' && ch <= 'Z' ? ch | 0x20 : ch;
}
static int ieq(const char* a, const char* lit, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (lower(a[i]) != lit[i]) return 0;
  return 1;
}

// handles the complete requests in c->in; -1 to close
static int http_run(Conn* c) {
  size_t pos = 0;
  while (c->ref_len == 0 && !c->closing) {
    if (c->skip) {
      size_t n = c->in_len - pos < c->skip ? c->in_len - pos : c->skip;
      pos += n;
      c->skip -= n;
      if (c->skip) break;
    }
    char *s = c->in + pos, *end = memmem(s, c->in_len - pos, "\r\n\r\n", 4);
    if (!end) break;
    end += 4;
    char* line = memchr(s, '\n', end - s) + 1;
    // request line
    char* sp = memchr(s, ' ', line - s);
    size_t n = 0;
    int ok = 0, close_it = 0;
    if (sp && sp[1] == '/') {
      char* q = sp + 2;
      while (*q >= '0' && *q <= '9') n = n * 10 + (*q++ - '0'), ok = 1;
      if (*q != ' ' && *q != '?') ok = 0;
    }
    if (line - s > 10 && !memcmp(line - 5, "1.0", 3)) close_it = 1;
    while (line < end - 2) {
      char* nl = memchr(line, '\n', end - line) + 1;
      if ((*line | 0x20) == 'c') {
        if (nl - line > 17 && ieq(line, "connection: close", 17))
          close_it = 1;
        else if (nl - line > 16 && ieq(line, "content-length: ", 16))
          c->skip = strtoul(line + 16, NULL, 10);
      }
      line = nl;
    }
    Resp* r = ok ? get_resp(n) : NULL;
    if (r)
      c->ref = r->buf, c->ref_len = r->len;
    else
      c->ref = not_found, c->ref_len = sizeof not_found - 1;
    c->closing = close_it;
    pos = end - c->in;
    int f = flush(c);
    if (f < 0) return -1;
    if (f == 0) set_out(c, 1);
  }
  memmove(c->in, c->in + pos, c->in_len - pos);
  c->in_len -= pos;
  if (c->closing && c->ref_len == 0) return -1;
  return 0;
}

static void h2_frame_hdr(unsigned char* p, uint32_t len, int type, int flags, uint32_t id) {
  p[0] = len >> 16, p[1] = len >> 8, p[2] = len, p[3] = type, p[4] = flags;
  p[5] = id >> 24, p[6] = id >> 16, p[7] = id >> 8, p[8] = id;
}
static uint32_t be32(const unsigned char* p) {
  return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void h2_respond(Conn* c, uint32_t id) {
  if (c->conn_win < (int64_t)c->b.body) {
    if (c->pend_n == c->pend_cap) {
      c->pend_cap = c->pend_cap ? c->pend_cap * 2 : 64;
      c->pend = realloc(c->pend, c->pend_cap * 4);
    }
    c->pend[c->pend_n++] = id;
    return;
  }
  static unsigned char* tmpl;
  static size_t tl, off_data, off_trail, tbody;
  if (!tmpl || tbody != c->b.body) {
    static const char ct[] =
        "\x88\x0f\x10\x10"
        "application/grpc\x0f\x27\x05"
        "bench";
    static const char tr[] =
        "\x00\x0bgrpc-status\x01"
        "0";
    size_t cl = sizeof ct - 1, rl = sizeof tr - 1;
    tbody = c->b.body;
    tl = 9 + cl + 9 + tbody + 9 + rl;
    tmpl = realloc(tmpl, tl);
    h2_frame_hdr(tmpl, cl, 1, 4, 0);
    memcpy(tmpl + 9, ct, cl);
    off_data = 9 + cl;
    h2_frame_hdr(tmpl + off_data, tbody, 0, 0, 0);
    unsigned char* d = tmpl + off_data + 9;
    pattern((char*)d, tbody);
    if (tbody >= 5) d[0] = 0, d[1] = 0, d[2] = (tbody - 5) >> 16, d[3] = (tbody - 5) >> 8, d[4] = tbody - 5;
    off_trail = off_data + 9 + tbody;
    h2_frame_hdr(tmpl + off_trail, rl, 1, 5, 0);
    memcpy(tmpl + off_trail + 9, tr, rl);
  }
  unsigned char idb[4] = {id >> 24, id >> 16, id >> 8, id};
  memcpy(tmpl + 5, idb, 4);
  memcpy(tmpl + off_data + 5, idb, 4);
  memcpy(tmpl + off_trail + 5, idb, 4);
  c->conn_win -= c->b.body;
  out_add(c, tmpl, tl);
}

// One frame of K_H2ECHO: the answer's head at once, each DATA back as it came, trailers at the end. -1: no window for that.
static int h2_echo(Conn* c, int type, int flags, uint32_t id, const unsigned char* p, uint32_t len) {
  static const char ct[] =
      "\x88\x0f\x10\x10"
      "application/grpc";
  static const char tr[] =
      "\x00\x0bgrpc-status\x01"
      "0";
  unsigned char h[9];
  if (type == 1) {
    h2_frame_hdr(h, sizeof ct - 1, 1, 4, id);
    out_add(c, h, 9);
    out_add(c, ct, sizeof ct - 1);
  } else if (len) {
    if (c->conn_win < len) return -1;
    c->conn_win -= len;
    h2_frame_hdr(h, len, 0, 0, id);
    out_add(c, h, 9);
    out_add(c, p, len);
  }
  if (flags & 1) {
    h2_frame_hdr(h, sizeof tr - 1, 1, 5, id);
    out_add(c, h, 9);
    out_add(c, tr, sizeof tr - 1);
  }
  return 0;
}

static int h2_run(Conn* c) {
  size_t pos = 0;
  unsigned char* b = (unsigned char*)c->in;
  if (!c->preface) {
    if (c->in_len < 24) return 0;
    if (memcmp(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24)) return -1;
    pos = 24;
    c->preface = 1;
    // SETTINGS: MAX_CONCURRENT_STREAMS 1000, INITIAL_WINDOW_SIZE 1 MiB; connection window +16 MiB
    unsigned char s[9 + 12 + 13];
    h2_frame_hdr(s, 12, 4, 0, 0);
    memcpy(s + 9, "\0\3\0\0\x03\xe8\0\4\0\x10\0\0", 12);
    h2_frame_hdr(s + 21, 4, 8, 0, 0);
    memcpy(s + 30, "\1\0\0\0", 4);
    out_add(c, s, sizeof s);
  }
  while (c->in_len - pos >= 9) {
    unsigned char* f = b + pos;
    uint32_t len = f[0] << 16 | f[1] << 8 | f[2], id = be32(f + 5) & 0x7fffffff;
    int type = f[3], flags = f[4];
    if (len > 16384) return -1;
    if (c->in_len - pos < 9 + len) break;
    unsigned char* p = f + 9;
    pos += 9 + len;
    if (c->b.kind == K_H2ECHO && type <= 1) {
      if (type == 0) c->consumed += len;
      if (h2_echo(c, type, flags, id, p, len)) return -1;
      continue;
    }
    switch (type) {
      case 0:
        c->consumed += len;
        if (flags & 1)
          h2_respond(c, id);
        else if (len) {
          unsigned char w[13];
          h2_frame_hdr(w, 4, 8, 0, id);
          w[9] = len >> 24, w[10] = len >> 16, w[11] = len >> 8, w[12] = len;
          out_add(c, w, 13);
        }
        break;
      case 1:
        if (!(flags & 4))
          c->hdr_stream = id, c->hdr_end_stream = flags & 1;
        else if (flags & 1)
          h2_respond(c, id);
        break;
      case 9:
        if ((flags & 4) && c->hdr_end_stream && c->hdr_stream == id) h2_respond(c, id);
        break;
      case 4:
        if (flags & 1) break;
        for (uint32_t i = 0; i + 6 <= len; i += 6)
          if ((p[i] << 8 | p[i + 1]) == 4) c->init_win = be32(p + i + 2);
        if (c->init_win < (int64_t)c->b.body) return -1;  // not supported by this small server
        {
          unsigned char a[9];
          h2_frame_hdr(a, 0, 4, 1, 0);
          out_add(c, a, 9);
        }
        break;
      case 6:
        if (!(flags & 1) && len == 8) {
          unsigned char a[17];
          h2_frame_hdr(a, 8, 6, 1, 0);
          memcpy(a + 9, p, 8);
          out_add(c, a, 17);
        }
        break;
      case 8:
        if (id == 0 && len == 4) {
          c->conn_win += be32(p) & 0x7fffffff;
          size_t i = 0;
          while (i < c->pend_n && c->conn_win >= (int64_t)c->b.body) h2_respond(c, c->pend[i++]);
          memmove(c->pend, c->pend + i, (c->pend_n - i) * 4);
          c->pend_n -= i;
        }
        break;
    }
  }
  if (c->consumed > (4u << 20)) {
    unsigned char w[13];
    h2_frame_hdr(w, 4, 8, 0, 0);
    uint32_t v = c->consumed;
    w[9] = v >> 24, w[10] = v >> 16, w[11] = v >> 8, w[12] = v;
    out_add(c, w, 13);
    c->consumed = 0;
  }
  memmove(c->in, c->in + pos, c->in_len - pos);
  c->in_len -= pos;
  int fl = flush(c);
  if (fl < 0) return -1;
  if (fl == 0) set_out(c, 1);
  return 0;
}

static char* source;  // what K_SOURCE sends
enum { SOURCE_SIZE = 4 << 20 };

static int on_event(Conn* c, uint32_t ev) {
  if (ev & EPOLLOUT) {
    if (c->b.kind == K_SOURCE && !c->ref_len) c->ref = source, c->ref_len = SOURCE_SIZE;
    int f = flush(c);
    if (f < 0) return -1;
    if (f == 0 || c->b.kind == K_SOURCE) return 0;
    if (c->closing) return -1;
    if (c->b.kind == K_ECHO && c->eof) {
      shutdown(c->b.fd, SHUT_WR);
      return -1;
    }
    set_out(c, 0);
    if (c->b.kind == K_HTTP && c->in_len) return http_run(c);
    return 0;
  }
  if (c->b.kind == K_SINK || c->b.kind == K_ACKSINK) {
    for (int i = 0; i < 16; i++) {
      ssize_t r = recv(c->b.fd, scratch, sizeof scratch, MSG_TRUNC);
      if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
      if (r == 0) {
        if (c->b.kind == K_ACKSINK) return -1;
        unsigned char t[8];
        for (int k = 0; k < 8; k++) t[k] = c->total >> (56 - 8 * k);
        (void)!send(c->b.fd, t, 8, MSG_NOSIGNAL);
        return -1;
      }
      const uint64_t acks = ((c->total + r) >> 20) - (c->total >> 20);  // a few: scratch is 1 MiB
      c->total += r;
      if (acks && c->b.kind == K_ACKSINK && send(c->b.fd, "kk", acks, MSG_NOSIGNAL) != (ssize_t)acks)
        return -1;
    }
    return 0;
  }
  if (c->b.kind == K_SOURCE) {  // only the end is of interest
    ssize_t r = recv(c->b.fd, scratch, sizeof scratch, 0);
    return r > 0 || (r < 0 && (errno == EAGAIN || errno == EINTR)) ? 0 : -1;
  }
  if (c->b.kind == K_ECHO) {
    ssize_t r = recv(c->b.fd, scratch, 256 * 1024, 0);
    if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (r == 0) return -1;  // all output was flushed (we do not read while output waits): close sends FIN
    ssize_t w = send(c->b.fd, scratch, r, MSG_NOSIGNAL);
    if (w < 0) {
      if (errno != EAGAIN) return -1;
      w = 0;
    }
    if (w < r) {
      out_add(c, scratch + w, r - w);
      set_out(c, 1);
    }
    return 0;
  }
  if (!c->in) c->in_cap = c->b.kind != K_HTTP ? 64 * 1024 : 16 * 1024, c->in = malloc(c->in_cap);
  if (c->in_len == c->in_cap) return -1;
  ssize_t r = recv(c->b.fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
  if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (r == 0) return -1;
  c->in_len += r;
  return c->b.kind == K_HTTP ? http_run(c) : h2_run(c);
}

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  struct rlimit rl;
  getrlimit(RLIMIT_NOFILE, &rl);
  rl.rlim_cur = rl.rlim_max;
  setrlimit(RLIMIT_NOFILE, &rl);
  ep = epoll_create1(0);
  for (int i = 1; i < argc; i++) {
    char *kind = strtok(argv[i], ":"), *addr = strtok(NULL, ":"), *port = strtok(NULL, ":"),
         *sz = strtok(NULL, ":");
    if (!kind || !addr || !port) return fprintf(stderr, "backend: bad argument %d\n", i), 2;
    Base* l = calloc(1, sizeof *l);
    l->listener = 1;
    l->kind = !strcmp(kind, "http")      ? K_HTTP
              : !strcmp(kind, "h2")      ? K_H2
              : !strcmp(kind, "h2echo")  ? K_H2ECHO
              : !strcmp(kind, "echo")    ? K_ECHO
              : !strcmp(kind, "sink")    ? K_SINK
              : !strcmp(kind, "acksink") ? K_ACKSINK
              : !strcmp(kind, "source")  ? K_SOURCE
                                         : -1;
    if (l->kind == K_SOURCE && !source) source = malloc(SOURCE_SIZE), pattern(source, SOURCE_SIZE);
    l->body = sz ? atoi(sz) : 1024;
    if (l->body > 16384) l->body = 16384;
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    if (l->kind < 0 || inet_pton(AF_INET, addr, &sa.sin_addr) != 1 || bind(l->fd, (void*)&sa, sizeof sa) ||
        listen(l->fd, 4096))
      return perror("backend: listen"), 2;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = l};
    epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &e);
  }
  struct epoll_event evs[256];
  for (;;) {
    int n = epoll_wait(ep, evs, 256, -1);
    for (int i = 0; i < n; i++) {
      Base* b = evs[i].data.ptr;
      if (b->listener) {
        for (int k = 0; k < 64; k++) {
          int fd = accept4(b->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
          if (fd < 0) break;
          int one = 1;
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          Conn* c = calloc(1, sizeof *c);
          c->b = *b;
          c->b.fd = fd;
          c->b.listener = 0;
          c->conn_win = c->init_win = 65535;
          struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
          epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
          if (c->b.kind == K_SOURCE) set_out(c, 1);
        }
      } else if (on_event((Conn*)b, evs[i].events) < 0) {
        conn_close((Conn*)b);
      }
    }
  }
}
