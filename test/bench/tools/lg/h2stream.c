// Bidirectional gRPC streams over HTTP/2: a message, its echo, the next one; after o_n of them the stream ends and another
// begins. A stream's messages fit its first window, so that only the connection's has to be watched.
#include "lg.h"

#define MESSAGE_MAX 200
#define SLOTS 8192
typedef struct {
  uint32_t id;
  long left;  // messages; -1: waits for the trailers
  int answered, stalled;
  uint64_t start;
  uint32_t got;
  uint8_t sent[MESSAGE_MAX], back[MESSAGE_MAX];
} Stream;
typedef struct {
  int fd;
  uint32_t next, consumed;
  int64_t win;
  uint8_t* buf;
  size_t len;
  Stream* streams;
  int slot[SLOTS];  // by half the id
} SConn;
#define SBUF (256 * 1024)
static uint8_t head[512];
static size_t head_len;
static uint64_t serial;

static void put_id(uint8_t* frame, uint32_t id) {
  frame[5] = id >> 24, frame[6] = id >> 16, frame[7] = id >> 8, frame[8] = id;
}
static void out(SConn* c, const void* p, size_t n) {
  if (send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n) die("send");
}
static void s_message(SConn* c, Stream* s) {
  s->stalled = c->win < o_size;
  if (s->stalled) return;
  uint8_t f[9 + MESSAGE_MAX];
  h2_hdr(f, o_size, 0, 0, s->id);
  memset(s->sent, 0, 5);
  s->sent[4] = o_size - 5;
  memset(s->sent + 5, 'x', o_size - 5);
  serial++;
  memcpy(s->sent + 5, &serial, sizeof serial);
  memcpy(f + 9, s->sent, o_size);
  c->win -= o_size;
  s->got = 0;
  s->start = now_ns();
  out(c, f, 9 + o_size);
}
static void s_open(SConn* c, int i) {
  Stream* s = &c->streams[i];
  s->id = c->next;
  c->next += 2;
  c->slot[(s->id >> 1) % SLOTS] = i;
  s->left = o_n;
  s->answered = 0;
  put_id(head, s->id);
  out(c, head, head_len);
  s_message(c, s);
}
// -1: the echo is wrong
static int s_data(SConn* c, Stream* s, const uint8_t* p, uint32_t len) {
  if (!s->answered || s->got + len > (uint32_t)o_size) return -1;
  memcpy(s->back + s->got, p, len);
  s->got += len;
  if (s->got < (uint32_t)o_size) return 0;
  if (memcmp(s->back, s->sent, o_size)) return -1;
  record(s->start, now_ns());
  if (--s->left > 0)
    s_message(c, s);
  else {
    uint8_t f[9];
    h2_hdr(f, 0, 0, 1, s->id);
    out(c, f, 9);
    s->left = -1;
  }
  return 0;
}
static int s_frame(SConn* c, const uint8_t* f, uint32_t len) {
  const uint8_t* p = f + 9;
  uint32_t id = ((uint32_t)f[5] << 24 | f[6] << 16 | f[7] << 8 | f[8]) & 0x7fffffff;
  int type = f[3], flags = f[4];
  Stream* s = &c->streams[c->slot[(id >> 1) % SLOTS]];
  if (type <= 1 && s->id != id) return -1;
  if (type == 0) {
    c->consumed += len;
    if (len && s_data(c, s, p, len)) return -1;
  } else if (type == 1 && !s->answered) {
    uint32_t i = 0;
    while (i < len && (p[i] & 0xe0) == 0x20) i++;
    if (i >= len || p[i] != 0x88) return -1;  // :status 200, as every encoder here writes it
    s->answered = 1;
  } else if (type == 4 && !(flags & 1)) {
    uint8_t a[9];
    h2_hdr(a, 0, 4, 1, 0);
    out(c, a, 9);
  } else if (type == 6 && !(flags & 1)) {
    uint8_t a[17];
    h2_hdr(a, 8, 6, 1, 0);
    memcpy(a + 9, p, 8);
    out(c, a, 17);
  } else if (type == 8 && id == 0) {
    c->win += ((uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]) & 0x7fffffff;
    for (int i = 0; i < o_streams; i++)
      if (c->streams[i].stalled) s_message(c, &c->streams[i]);
  } else if (type == 3 || type == 7)
    return -1;
  if (type <= 1 && (flags & 1)) {
    if (s->left != -1) return -1;  // ended before its time
    s_open(c, s - c->streams);
  }
  return 0;
}
static int s_read(SConn* c) {
  ssize_t r = recv(c->fd, c->buf + c->len, SBUF - c->len, MSG_DONTWAIT);
  if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (r == 0) return -1;
  bytes_in += r;
  c->len += r;
  size_t pos = 0;
  while (c->len - pos >= 9) {
    const uint8_t* f = c->buf + pos;
    uint32_t len = f[0] << 16 | f[1] << 8 | f[2];
    if (c->len - pos < 9 + len) break;
    pos += 9 + len;
    if (s_frame(c, f, len)) return -1;
  }
  memmove(c->buf, c->buf + pos, c->len - pos);
  c->len -= pos;
  if (c->consumed > (4u << 20)) {
    uint8_t a[13];
    h2_hdr(a, 4, 8, 0, 0);
    a[9] = c->consumed >> 24, a[10] = c->consumed >> 16, a[11] = c->consumed >> 8, a[12] = c->consumed;
    c->consumed = 0;
    out(c, a, 13);
  }
  return 0;
}
int run_h2stream(void) {
  if (o_size < 13 || o_size > MESSAGE_MAX || o_streams > SLOTS / 4 || o_n * o_size > 65535) return 2;
  head_len = h2_headers(head);
  for (int i = 0; i < o_c; i++) {
    SConn* c = calloc(1, sizeof *c);
    c->next = 1;
    c->win = 65535;
    c->buf = malloc(SBUF);
    c->streams = calloc(o_streams, sizeof *c->streams);
    c->fd = dial(i, 0);
    if (c->fd < 0) die("connect");
    h2_preface(c->fd);
    ep_add(c->fd, EPOLLIN, c);
    for (int k = 0; k < o_streams; k++) s_open(c, k);
  }
  start_clock();
  struct epoll_event evs[64];
  while (now_ns() < t_end) {
    int n = ep_wait(evs, 64, t_end);
    for (int i = 0; i < n; i++)
      if (s_read(evs[i].data.ptr) < 0) {
        fprintf(stderr, "lg: HTTP/2 stream failed after %llu messages\n", (unsigned long long)n_all);
        return 1;
      }
  }
  report(NULL);
  return 0;
}
