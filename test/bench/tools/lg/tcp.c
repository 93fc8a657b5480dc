// Echo round trips, connections a second, bulk, and the check that an echo is byte-exact.
#include "lg.h"

typedef struct {
  int fd, id, up, got;
  uint64_t start;
} PConn;
static char msg[65536];

int run_pingpong(int reconnect) {
  if (o_size > (int)sizeof msg) return 2;
  pattern(msg, o_size);
  PConn* cs = calloc(o_c, sizeof *cs);
  int seq = 0;
  start_clock();
  for (int i = 0; i < o_c; i++) {
    cs[i].id = i;
    cs[i].start = now_ns();
    cs[i].fd = dial(seq++, 1);
    if (cs[i].fd < 0) die("connect");
    ep_add(cs[i].fd, EPOLLOUT, &cs[i]);
  }
  struct epoll_event evs[256];
  for (;;) {
    uint64_t t = now_ns();
    if (t >= t_end) break;
    int n = ep_wait(evs, 256, t_end);
    for (int i = 0; i < n; i++) {
      PConn* c = evs[i].data.ptr;
      int bad = 0;
      if (!c->up) {
        int e = 0;
        socklen_t l = sizeof e;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &l);
        if (e)
          bad = 1;
        else {
          c->up = 1;
          c->got = 0;
          if (!reconnect) c->start = now_ns();
          ep_mod(c->fd, EPOLLIN, c);
          if (send(c->fd, msg, o_size, MSG_NOSIGNAL) != o_size) bad = 1;
        }
      } else {
        ssize_t r = recv(c->fd, scratch, o_size - c->got, 0);
        if (r < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (r <= 0 || memcmp(scratch, msg + c->got, r))
          bad = 1;
        else if ((c->got += r) == o_size) {
          uint64_t e = now_ns();
          record(c->start, e);
          if (!reconnect) {
            c->start = e;
            c->got = 0;
            if (send(c->fd, msg, o_size, MSG_NOSIGNAL) != o_size) bad = 1;
          }
        } else
          continue;
      }
      if (bad) {
        if (++n_err > 1000) die("too many errors");
      }
      if (bad || (reconnect && c->got == o_size)) {
        close(c->fd);
        c->up = c->got = 0;
        c->start = now_ns();
        c->fd = dial(seq++, 1);
        if (c->fd < 0) die("connect");
        ep_add(c->fd, EPOLLOUT, c);
      }
    }
  }
  report(NULL);
  return n_err != 0;
}

// ---- bulk ----
typedef struct {
  int fd, fin;
  uint64_t sent;
  off_t off;
  unsigned char tot[8];
  int ntot;
} BConn;
int run_bulk(void) {
  int mf = memfd_create("bulk", 0);
  size_t flen = 4 << 20;
  if (mf < 0 || ftruncate(mf, flen)) die("memfd");
  char* m = mmap(NULL, flen, PROT_READ | PROT_WRITE, MAP_SHARED, mf, 0);
  pattern(m, flen);
  BConn* cs = calloc(o_c, sizeof *cs);
  for (int i = 0; i < o_c; i++) {
    cs[i].fd = dial(i, 0);
    if (cs[i].fd < 0) die("connect");
    int nb = 1;
    ioctl(cs[i].fd, FIONBIO, &nb);
    ep_add(cs[i].fd, EPOLLOUT, &cs[i]);
  }
  t_begin = t_warm = now_ns();
  t_end = t_begin + (uint64_t)(o_dur * 1e9);
  int left = o_c, fin = 0;
  uint64_t sent = 0, recvd = 0, t_stop = t_end + 15000000000ull;
  struct epoll_event evs[64];
  while (left) {
    uint64_t t = now_ns();
    if (!fin && t >= t_end) {
      fin = 1;
      for (int i = 0; i < o_c; i++) {
        shutdown(cs[i].fd, SHUT_WR);
        cs[i].fin = 1;
        ep_mod(cs[i].fd, EPOLLIN, &cs[i]);
      }
    }
    if (t >= t_stop) {
      fprintf(stderr, "lg: %d streams got no count back (half-close not carried?)\n", left);
      n_err += left;
      break;
    }
    int n = ep_wait(evs, 64, fin ? t_stop : t_end);
    for (int i = 0; i < n; i++) {
      BConn* c = evs[i].data.ptr;
      if (!c->fin) {
        if (c->off >= (off_t)flen) c->off = 0;
        ssize_t w = sendfile(c->fd, mf, &c->off, flen - c->off < 262144 ? flen - c->off : 262144);
        if (w > 0)
          c->sent += w;
        else if (errno != EAGAIN)
          die("sendfile");
      } else {
        ssize_t r = recv(c->fd, c->tot + c->ntot, 8 - c->ntot, 0);
        if (r < 0 && errno == EAGAIN) continue;
        if (r > 0 && (c->ntot += r) < 8) continue;
        uint64_t v = 0;
        for (int k = 0; k < 8; k++) v = v << 8 | c->tot[k];
        if (r <= 0 || v != c->sent) n_err++;
        sent += c->sent;
        recvd += v;
        close(c->fd);
        left--;
      }
    }
  }
  double d = (now_ns() - t_begin) / 1e9;
  printf("{\"bytes\":%llu,\"received\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"gbit_s\":%.4f,\"gib\":%.6f}\n",
         (unsigned long long)sent, (unsigned long long)recvd, (unsigned long long)n_err, d,
         recvd * 8 / d / 1e9, recvd / 1073741824.0);
  return n_err != 0;
}

// ---- verify echo ----
int run_vecho(void) {
  long len = o_expect > 0 ? o_expect : 4 << 20;
  char *d = malloc(len), *g = malloc(len + 1);
  pattern(d, len);
  int fd = dial(0, 0);
  if (fd < 0) die("connect");
  if (o_hold > 0) {  // exchange one message, then stay connected while the harness looks at the sockets
    if (send(fd, d, 64, MSG_NOSIGNAL) != 64 || recv(fd, g, 64, MSG_WAITALL) != 64 || memcmp(d, g, 64))
      die("hold");
    printf("held\n");
    fflush(stdout);
    usleep((useconds_t)(o_hold * 1e6));
  }
  ep_add(fd, EPOLLIN | EPOLLOUT, NULL);
  long s = 0, r = 0;
  int eof = 0;
  uint64_t stop = now_ns() + 10000000000ull;
  while (!eof && now_ns() < stop) {
    struct epoll_event e;
    if (ep_wait(&e, 1, stop) < 1) continue;
    if ((e.events & EPOLLOUT) && s < len) {
      ssize_t w = send(fd, d + s, len - s < 65536 ? len - s : 65536, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (w > 0)
        s += w;
      else if (errno != EAGAIN)
        die("send");
      if (s == len) {
        shutdown(fd, SHUT_WR);
        struct epoll_event m = {.events = EPOLLIN};
        epoll_ctl(ep, EPOLL_CTL_MOD, fd, &m);
      }
    }
    if (e.events & ~EPOLLOUT) {
      ssize_t w = recv(fd, g + r, len + 1 - r, MSG_DONTWAIT);
      if (w == 0)
        eof = 1;
      else if (w > 0)
        r += w;
      else if (errno != EAGAIN)
        die("recv");
    }
  }
  int ok = eof && r == len && !memcmp(d, g, len);
  printf("{\"sent\":%ld,\"received\":%ld,\"eof\":%d,\"equal\":%d}\n", s, r, eof,
         r == len && !memcmp(d, g, len));
  return !ok;
}
