// TLS handshakes a second.
#include "lg.h"

int run_tls(void) {
  t_init();
  TConn* cs = calloc(o_c, sizeof *cs);
  struct epoll_event evs[256];
  if (o_resume) {  // one full handshake for the ticket
    TConn* c = &cs[0];
    c->want_ticket = 1;
    t_open(c, 0);
    uint64_t stop = now_ns() + 5000000000ull;
    int got = 0;
    while (now_ns() < stop && !(got && tk_len)) {
      if (ep_wait(evs, 1, stop) < 1) break;
      int r = c->up ? t_read(c) : t_connected(c);
      if (r < 0) break;
      if (r == 1) got = 1;
    }
    close(c->fd);
    if (!tk_len) return fprintf(stderr, "lg: the server sent no session ticket\n"), 2;
    c->want_ticket = 0;
  }
  int seq = 1;
  start_clock();
  for (int i = 0; i < o_c; i++) t_open(&cs[i], seq++);
  for (;;) {
    uint64_t t = now_ns();
    if (t >= t_end) break;
    int n = ep_wait(evs, 256, t_end);
    for (int i = 0; i < n; i++) {
      TConn* c = evs[i].data.ptr;
      int r = c->up ? t_read(c) : t_connected(c);
      if (r == 0) continue;
      if (r < 0) {
        if (++n_err > 200) die("too many errors");
      } else {
        if (c->resumed)
          n_resumed++;
        else
          n_full++;
        record(c->start, now_ns());
      }
      close(c->fd);
      t_open(c, seq++);
    }
  }
  char x[128];
  snprintf(x, sizeof x, ",\"full\":%llu,\"resumed\":%llu", (unsigned long long)n_full,
           (unsigned long long)n_resumed);
  report(x);
  return n_err != 0;
}
