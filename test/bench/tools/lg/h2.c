// gRPC-like POSTs over HTTP/2 with prior knowledge.
#include "lg.h"

#define RING 8192
typedef struct {
  int fd, id, inflight;
  uint32_t next, consumed;
  int64_t win;
  uint8_t* buf;
  size_t len;
  uint64_t start[RING];
  uint32_t body[RING];
  uint8_t ok[RING];
} H2;
#define H2BUF (256 * 1024)
static uint8_t h2_req[1024];
static size_t h2_len, h2_data_off;

size_t h2_headers(uint8_t* out) {
  uint8_t* p = out + 9;
  size_t pl = strlen(o_path), hl = strlen(o_host);
  *p++ = 0x83, *p++ = 0x86;  // POST, http
  *p++ = 0x04, *p++ = pl, memcpy(p, o_path, pl), p += pl;
  *p++ = 0x01, *p++ = hl, memcpy(p, o_host, hl), p += hl;
  memcpy(p,
         "\x0f\x10\x10"
         "application/grpc\x00\x02te\x08trailers",
         19 + 13),
      p += 32;
  h2_hdr(out, p - out - 9, 1, 4, 0);
  return p - out;
}
static void h2_make(void) {
  h2_data_off = h2_headers(h2_req);
  uint8_t* p = h2_req + h2_data_off;
  h2_hdr(p, o_size, 0, 1, 0), p += 9;
  memset(p, 'x', o_size), p[0] = p[1] = p[2] = p[3] = 0, p[4] = o_size - 5, p += o_size;
  h2_len = p - h2_req;
}
static int h2_send(H2* c, uint64_t start) {
  uint32_t id = c->next, k = (id >> 1) % RING;
  c->next += 2;
  uint8_t idb[4] = {id >> 24, id >> 16, id >> 8, id};
  memcpy(h2_req + 5, idb, 4);
  memcpy(h2_req + h2_data_off + 5, idb, 4);
  c->start[k] = start;
  c->body[k] = c->ok[k] = 0;
  c->inflight++;
  c->win -= o_size;
  return send(c->fd, h2_req, h2_len, MSG_NOSIGNAL) == (ssize_t)h2_len ? 0 : -1;
}
// -1: broken; else the number of responses completed
static int h2_read(H2* c) {
  ssize_t r = recv(c->fd, c->buf + c->len, H2BUF - c->len, MSG_DONTWAIT);
  if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (r == 0) return -1;
  bytes_in += r;
  c->len += r;
  size_t pos = 0;
  int done = 0;
  uint64_t t = now_ns();
  while (c->len - pos >= 9) {
    uint8_t *f = c->buf + pos, *p = f + 9;
    uint32_t len = f[0] << 16 | f[1] << 8 | f[2],
             id = ((uint32_t)f[5] << 24 | f[6] << 16 | f[7] << 8 | f[8]) & 0x7fffffff;
    int type = f[3], flags = f[4];
    if (c->len - pos < 9 + len) break;
    pos += 9 + len;
    uint32_t k = (id >> 1) % RING;
    if (type == 0) {
      c->consumed += len;
      c->body[k] += len;
    } else if (type == 1 && !c->ok[k]) {
      uint32_t i = 0;
      while (i < len && (p[i] & 0xe0) == 0x20) i++;
      if (i >= len || p[i] != 0x88) return -1;  // :status 200, as every encoder here writes it
      c->ok[k] = 1;
    } else if (type == 4 && !(flags & 1)) {
      uint8_t a[9];
      h2_hdr(a, 0, 4, 1, 0);
      if (send(c->fd, a, 9, MSG_NOSIGNAL) != 9) return -1;
    } else if (type == 6 && !(flags & 1)) {
      uint8_t a[17];
      h2_hdr(a, 8, 6, 1, 0);
      memcpy(a + 9, p, 8);
      if (send(c->fd, a, 17, MSG_NOSIGNAL) != 17) return -1;
    } else if (type == 8 && id == 0)
      c->win += ((uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]) & 0x7fffffff;
    else if (type == 3 || type == 7)
      return -1;
    if (type <= 1 && (flags & 1)) {
      if (!c->ok[k] || (o_expect >= 0 && c->body[k] != o_expect)) return -1;
      c->inflight--;
      done++;
      record(c->start[k], t);
    }
  }
  memmove(c->buf, c->buf + pos, c->len - pos);
  c->len -= pos;
  if (c->consumed > (4u << 20)) {
    uint8_t a[13];
    h2_hdr(a, 4, 8, 0, 0);
    a[9] = c->consumed >> 24, a[10] = c->consumed >> 16, a[11] = c->consumed >> 8, a[12] = c->consumed;
    c->consumed = 0;
    if (send(c->fd, a, 13, MSG_NOSIGNAL) != 13) return -1;
  }
  return done;
}
void h2_preface(int fd) {
  uint8_t o[24 + 9 + 12 + 13];
  memcpy(o, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
  h2_hdr(o + 24, 12, 4, 0, 0);
  memcpy(o + 33, "\0\2\0\0\0\0\0\4\0\x10\0\0", 12);  // no push, stream window 1 MiB
  h2_hdr(o + 45, 4, 8, 0, 0);
  memcpy(o + 54, "\1\0\0\0", 4);
  if (send(fd, o, sizeof o, MSG_NOSIGNAL) != sizeof o) die("send");
}
int run_h2(void) {
  if (o_size < 5 || o_size > 200) return 2;
  h2_make();
  H2** cs = calloc(o_c, sizeof *cs);
  for (int i = 0; i < o_c; i++) {
    H2* c = cs[i] = calloc(1, sizeof **cs);
    c->id = i;
    c->next = 1;
    c->win = 65535;
    c->buf = malloc(H2BUF);
    c->fd = dial(i, 0);
    if (c->fd < 0) die("connect");
    h2_preface(c->fd);
    ep_add(c->fd, EPOLLIN, c);
  }
  start_clock();
  uint64_t step = o_rate > 0 ? (uint64_t)(1e9 / o_rate) : 0, due = t_begin;
  int turn = 0;
  struct epoll_event evs[64];
  for (;;) {
    uint64_t t = now_ns();
    if (t >= t_end) break;
    int full = 0;
    if (step)
      while (due <= t && !full) {
        int k = 0;
        while (k < o_c && (cs[turn]->inflight >= o_streams || cs[turn]->win < o_size))
          turn = (turn + 1) % o_c, k++;
        if (k == o_c)
          full = 1;
        else {
          if (h2_send(cs[turn], due)) die("send");
          turn = (turn + 1) % o_c;
          due += step;
        }
      }
    else
      for (int i = 0; i < o_c; i++)
        while (cs[i]->inflight < o_streams && cs[i]->win >= o_size)
          if (h2_send(cs[i], now_ns())) die("send");
    int n = ep_wait(evs, 64, step && !full && due < t_end ? due : t_end);
    for (int i = 0; i < n; i++)
      if (h2_read(evs[i].data.ptr) < 0) {
        fprintf(stderr, "lg: HTTP/2 connection failed after %llu responses\n", (unsigned long long)n_all);
        return 1;
      }
  }
  report(NULL);
  return 0;
}
