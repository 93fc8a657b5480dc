// Many connections that have each carried one request, and then nothing.
#include "lg.h"

int run_idle(void) {
  t_init();
  load_hosts();
  long next = 0, ready = 0;
  int window = 64;
  void** all = calloc(o_n, sizeof *all);
  struct epoll_event evs[256];
  uint64_t t0 = now_ns(), stop = t0 + 60000000000ull;
  long inflight = 0;
  while (ready < o_n) {
    if (now_ns() > stop) return fprintf(stderr, "lg: only %ld connections ready\n", ready), 2;
    while (inflight < window && next < o_n) {
      if (o_tls) {
        TConn* c = calloc(1, sizeof *c);
        all[next++] = c;
        t_open(c, next);
      } else {
        HConn* c = calloc(1, sizeof *c);
        all[next] = c;
        c->id = next++;
        h_open(c);
        if (h_send(c, now_ns())) die("send");
      }
      inflight++;
    }
    int n = ep_wait(evs, 256, stop);
    for (int i = 0; i < n; i++) {
      int r;
      if (o_tls) {
        TConn* c = evs[i].data.ptr;
        const int was = c->up ? c->st : 0;
        r = c->up ? t_read(c) : t_connected(c);
        if (o_silent && r == 0 && was < 2 && c->st == 2)
          r = 1;  // ready after the handshake; tickets may follow
        if (r == 1) {  // keep only what a later request needs
          if (!c->len) free(c->buf), c->buf = NULL, c->cap = 0;
          if (!c->hs_len) free(c->hs), c->hs = NULL, c->hs_cap = 0;
          inflight--, ready++;
        }
      } else {
        HConn* c = evs[i].data.ptr;
        r = h_recv(c);
        if (r == 1) inflight--, ready++;
      }
      if (r < 0) return fprintf(stderr, "lg: connection failed after %ld ready\n", ready), 2;
    }
  }
  printf("{\"ready\":%ld,\"seconds\":%.3f}\n", ready, (now_ns() - t0) / 1e9);
  fflush(stdout);
  char b;
  while (read(0, &b, 1) > 0) {
  }
  // every connection must still answer: try 100 of them
  long tried = 0, good = 0;
  for (long i = 0; i < o_n; i += o_n / 100 ? o_n / 100 : 1) {
    tried++;
    int fd = o_tls ? ((TConn*)all[i])->fd : ((HConn*)all[i])->fd, r;
    r = o_tls ? t_request(all[i], NULL, 0) : h_send(all[i], now_ns());
    uint64_t lim = now_ns() + 2000000000ull;
    (void)fd;
    int done = 0;
    while (r == 0 && !done && now_ns() < lim) {
      int n = ep_wait(evs, 256, lim);
      for (int k = 0; k < n; k++) {
        int q = o_tls ? t_read(evs[k].data.ptr) : h_recv(evs[k].data.ptr);
        if (q < 0) {
          int dead = o_tls ? ((TConn*)evs[k].data.ptr)->fd : ((HConn*)evs[k].data.ptr)->fd;
          epoll_ctl(ep, EPOLL_CTL_DEL, dead, NULL);
        }
        if (evs[k].data.ptr == all[i]) done = q < 0 ? -1 : q;
      }
    }
    if (done == 1) good++;
  }
  printf("{\"tried\":%ld,\"alive\":%ld}\n", tried, good);
  return good != tried;
}
