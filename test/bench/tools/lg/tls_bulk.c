// Bulk over TLS, in one direction. Downloads: every record is counted, small ones and one in SAMPLE are decrypted and
// their tags checked, so that the client costs less than the server. Uploads: what the sink has confirmed counts.
#include "lg.h"

enum { RECORD = 16384, SAMPLE = 8, RECORDS = 8 };

typedef struct {
  TConn t;
  uint8_t* out;  // sealed records not yet sent
  size_t out_off, out_len;
  uint64_t bytes;
} Bulk;
static uint8_t plain[RECORD];
static uint64_t total, in_window;

static void count(Bulk* b, uint64_t n) {
  uint64_t t = now_ns();
  b->bytes += n;
  total += n;
  if (t >= t_warm && t < t_end) in_window += n;
}
// what has come: 0, -1 error
static int bulk_read(Bulk* b) {
  TConn* c = &b->t;
  if (c->cap < 1 << 18) c->buf = realloc(c->buf, c->cap = 1 << 18);
  ssize_t r = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
  if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (r == 0) return -1;
  c->len += r;
  size_t pos = 0, got = 0;
  while (c->len - pos >= 5) {
    uint8_t* rec = c->buf + pos;
    size_t n = rec[3] << 8 | rec[4];
    if (c->len - pos < 5 + n) break;
    pos += 5 + n;
    if (rec[0] != 23 || n < 17) return -1;
    if (n < 1024 || c->rd.seq % SAMPLE == 0) {
      int type;
      long pl = t_unseal(c, rec, n, &type);
      if (pl < 0 || (type != 23 && type != 22)) return -1;
      if (type == 23) got += o_up ? (size_t)pl << 20 : (size_t)pl;  // an answer of the sink is a MiB
    } else {
      c->rd.seq++;
      got += n - 17;
    }
  }
  memmove(c->buf, c->buf + pos, c->len - pos);
  c->len -= pos;
  if (got) count(b, got);
  return 0;
}
static int bulk_write(Bulk* b) {
  for (int turn = 0; turn < 4; turn++) {
    if (b->out_off == b->out_len) {
      b->out_off = b->out_len = 0;
      for (int i = 0; i < RECORDS; i++) b->out_len += t_seal(&b->t, plain, RECORD, b->out + b->out_len);
    }
    ssize_t w = send(b->t.fd, b->out + b->out_off, b->out_len - b->out_off, MSG_NOSIGNAL);
    if (w < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    b->out_off += w;
  }
  return 0;
}

int run_tlsbulk(void) {
  o_silent = 1;
  t_init();
  pattern((char*)plain, sizeof plain);
  Bulk* bs = calloc(o_c, sizeof *bs);
  start_clock();
  for (int i = 0; i < o_c; i++) {
    bs[i].out = malloc(RECORDS * (RECORD + 64));
    t_open(&bs[i].t, i);
  }
  struct epoll_event evs[64];
  while (now_ns() < t_end) {
    int n = ep_wait(evs, 64, t_end);
    for (int i = 0; i < n; i++) {
      Bulk* b = evs[i].data.ptr;  // its TConn is its first member
      TConn* c = &b->t;
      int r = 0;
      if (!c->up)
        r = t_connected(c);
      else if (c->st < 2) {
        r = t_read(
            c);  // no server here sends data before the client's Finished, so nothing but the handshake is in it
        if (r == 0 && c->st == 2 && o_up) ep_mod(c->fd, EPOLLIN | EPOLLOUT, c);
      } else {
        if (evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) r = bulk_read(b);
        if (r == 0 && evs[i].events & EPOLLOUT) r = bulk_write(b);
      }
      if (r < 0) return fprintf(stderr, "lg: a connection ended, or a record's tag is wrong\n"), 2;
    }
  }
  for (int i = 0; i < o_c; i++)
    if (!bs[i].bytes) return fprintf(stderr, "lg: a connection carried nothing\n"), 2;
  printf("{\"mib_s\":%.2f,\"gib\":%.6f,\"seconds\":%.3f}\n", in_window / ((t_end - t_warm) / 1e9) / (1 << 20),
         total / (double)(1 << 30), (t_end - t_begin) / 1e9);
  return 0;
}
