// HTTP/1.1 keep-alive: closed loop, or open loop at a rate.
#include "lg.h"

static char** reqs;
static size_t* req_len;
static int nreqs;

void load_hosts(void) {
  char* list[8192];
  int n = 0;
  if (o_hosts) {
    FILE* f = fopen(o_hosts, "r");
    if (!f) die(o_hosts);
    char b[512];
    while (n < 8192 && fgets(b, sizeof b, f)) {
      b[strcspn(b, "\r\n")] = 0;
      if (*b) list[n++] = strdup(b);
    }
    fclose(f);
  } else
    list[n++] = (char*)o_host;
  reqs = calloc(n, sizeof *reqs);
  req_len = calloc(n, sizeof *req_len);
  for (int i = 0; i < n; i++) {
    req_len[i] = asprintf(&reqs[i], "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lg\r\nAccept: */*\r\n\r\n",
                          o_path, list[i]);
  }
  nreqs = n;
}

int h_send(HConn* c, uint64_t start) {
  c->start = start;
  c->busy = 1;
  c->head_len = 0;
  c->body_left = -1;
  int h = c->host;
  c->host = (c->host + 1) % nreqs;
  return send(c->fd, reqs[h], req_len[h], MSG_NOSIGNAL) == (ssize_t)req_len[h] ? 0 : -1;
}
// 1: response complete and right, 0: more to come, -1: wrong
int h_recv(HConn* c) {
  ssize_t r;
  if (c->body_left < 0) {
    r = recv(c->fd, scratch, SCRATCH_SIZE, 0);
    if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (r == 0) return -1;
    bytes_in += r;
    size_t n = (size_t)r < sizeof c->head - c->head_len ? (size_t)r : sizeof c->head - c->head_len;
    memcpy(c->head + c->head_len, scratch, n);
    char* e = memmem(c->head, c->head_len + n, "\r\n\r\n", 4);
    if (!e) {
      c->head_len += n;
      return c->head_len == sizeof c->head ? -1 : 0;
    }
    size_t hl = e + 4 - c->head;
    if (memcmp(c->head + 9, "200", 3)) return -1;
    long cl = -1;
    for (char* p = memchr(c->head, '\n', hl); p && p + 1 < e; p = memchr(p + 1, '\n', e - p - 1))
      if (!strncasecmp(p + 1, "content-length:", 15)) {
        cl = strtol(p + 16, NULL, 10);
        break;
      }
    if (cl < 0 || (o_expect >= 0 && cl != o_expect)) return -1;
    c->body_left = cl - ((long)r - (long)(hl - c->head_len));
  } else {
    r = recv(c->fd, scratch, SCRATCH_SIZE, 0);
    if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (r == 0) return -1;
    bytes_in += r;
    c->body_left -= r;
  }
  if (c->body_left < 0) return -1;
  return c->body_left == 0;
}
void h_open(HConn* c) {
  c->fd = dial(c->id, 0);
  if (c->fd < 0) die("connect");
  ep_add(c->fd, EPOLLIN, c);
  c->busy = 0;
}
int run_http(void) {
  load_hosts();
  HConn* cs = calloc(o_c, sizeof *cs);
  int *idle = calloc(o_c, sizeof *idle), nidle = 0;
  for (int i = 0; i < o_c; i++) {
    cs[i].id = i;
    cs[i].host = i % nreqs;
    h_open(&cs[i]);
  }
  start_clock();
  uint64_t step = o_rate > 0 ? (uint64_t)(1e9 / o_rate) : 0, due = t_begin, late = 0;
  for (int i = 0; i < o_c; i++) {
    if (step)
      idle[nidle++] = i;
    else if (h_send(&cs[i], now_ns()))
      die("send");
  }
  struct epoll_event evs[256];
  for (;;) {
    uint64_t t = now_ns();
    if (t >= t_end) break;
    if (step) {
      while (due <= t && nidle) {
        HConn* c = &cs[idle[--nidle]];
        if (h_send(c, due)) n_err++;
        due += step;
      }
      if (due <= t) late++;
    }
    int n = ep_wait(evs, 256, step && nidle && due < t_end ? due : t_end);
    for (int i = 0; i < n; i++) {
      HConn* c = evs[i].data.ptr;
      int r = h_recv(c);
      if (r == 0) continue;
      if (r < 0) {
        n_err++;
        close(c->fd);
        h_open(c);
        if (n_err > 1000) die("too many errors");
      } else {
        record(c->start, now_ns());
        c->busy = 0;
      }
      if (step)
        idle[nidle++] = c->id;
      else if (h_send(c, now_ns()))
        n_err++;
    }
  }
  char x[64];
  snprintf(x, sizeof x, ",\"rate\":%.0f", o_rate);
  report(x);
  return n_err != 0;
}
