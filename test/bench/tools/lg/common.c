#include "lg.h"

uint64_t hist[HIST_SIZE], hist_n, hist_max;
double hist_sum;
double hist_q(double q) {  // microseconds
  uint64_t want = (uint64_t)(q * hist_n), got = 0;
  for (int i = 0; i < 64 * 128; i++)
    if ((got += hist[i]) > want) return (double)((uint64_t)(i % 128) << (i / 128)) / 1000.0;
  return hist_max / 1000.0;
}

void die(const char* m) {
  fprintf(stderr, "lg: %s: %s\n", m, strerror(errno));
  exit(2);
}

// ---- options ----
const char *o_addr = "127.0.0.1", *o_path = "/1024", *o_host = "bench.local", *o_hosts, *o_cert, *o_key;
int o_ports[64], o_nports, o_c = 1, o_size = 64, o_resume, o_tls, o_streams = 32, o_x25519, o_silent, o_up;
double o_dur = 2, o_warm = 0.3, o_rate, o_hold;
long o_expect = -1, o_n = 1000;
struct sockaddr_in o_sa[64];

int ep;
char scratch[SCRATCH_SIZE];
uint64_t n_ok, n_err, n_all, bytes_in, t_begin, t_warm, t_end;

void pattern(char* p, size_t n) {
  for (size_t i = 0; i < n; i++) p[i] = (char)('a' + (i * 7 + i / 251) % 26);
}

int dial(int which, int nonblock) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0);
  if (fd < 0) die("socket");
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, (void*)&o_sa[which % o_nports], sizeof o_sa[0]) && errno != EINPROGRESS) {
    close(fd);
    return -1;
  }
  return fd;
}
void ep_add(int fd, uint32_t ev, void* p) {
  struct epoll_event e = {.events = ev, .data.ptr = p};
  if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
}
void ep_mod(int fd, uint32_t ev, void* p) {
  struct epoll_event e = {.events = ev, .data.ptr = p};
  if (epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e)) die("epoll_ctl");
}
int ep_wait(struct epoll_event* evs, int n, uint64_t until) {
  uint64_t t = now_ns();
  struct timespec ts = {0, 0};
  if (until > t) ts.tv_sec = (until - t) / 1000000000ull, ts.tv_nsec = (until - t) % 1000000000ull;
  int r = epoll_pwait2(ep, evs, n, &ts, NULL);
  if (r < 0 && errno != EINTR) die("epoll_pwait2");
  return r < 0 ? 0 : r;
}

void report(const char* extra) {
  double d = (t_end - t_warm) / 1e9;
  printf(
      "{\"ok\":%llu,\"all\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"per_s\":%.3f,\"bytes\":%llu,\"p50_us\":%."
      "1f,"
      "\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"mean_us\":%.1f%s}\n",
      (unsigned long long)n_ok, (unsigned long long)n_all, (unsigned long long)n_err, d, n_ok / d,
      (unsigned long long)bytes_in, hist_q(.5), hist_q(.9), hist_q(.99), hist_q(.999), hist_max / 1e3,
      hist_n ? hist_sum / hist_n / 1e3 : 0, extra ? extra : "");
}
void start_clock(void) {
  t_begin = now_ns();
  t_warm = t_begin + (uint64_t)(o_warm * 1e9);
  t_end = t_warm + (uint64_t)(o_dur * 1e9);
}
