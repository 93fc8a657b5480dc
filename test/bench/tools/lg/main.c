// Options, and the probe of the core's speed.
#include "lg.h"

int run_probe(void) {
  uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, n = 0;
  struct timespec t0, t1;
  uint64_t end = now_ns() + 25000000;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
  while (now_ns() < end) {
    for (int i = 0; i < 50000; i++) {
      a += i, b ^= i, c += i, d ^= i, e += i, f ^= i, g += i, h ^= i;
      __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g), "+r"(h));
    }
    n += 50000;
  }
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
  printf("%.4f\n", ((t1.tv_sec - t0.tv_sec) * 1e9 + (t1.tv_nsec - t0.tv_nsec)) / n);
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  if (!strcmp(argv[1], "probe")) return run_probe();
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1000);
  struct rlimit rl;
  getrlimit(RLIMIT_NOFILE, &rl);
  rl.rlim_cur = rl.rlim_max;
  setrlimit(RLIMIT_NOFILE, &rl);
  const char* mode = argv[1];
  for (int i = 2; i < argc; i++) {
    const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
    int* flag = !strcmp(a, "--resume")   ? &o_resume
                : !strcmp(a, "--tls")    ? &o_tls
                : !strcmp(a, "--x25519") ? &o_x25519
                : !strcmp(a, "--silent") ? &o_silent
                : !strcmp(a, "--up")     ? &o_up
                                         : NULL;
    if (flag) {
      *flag = 1;
      continue;
    }
    i++;
    if (!strcmp(a, "--addr"))
      o_addr = v;
    else if (!strcmp(a, "--ports")) {
      char* d = strdup(v);
      for (char* p = strtok(d, ","); p && o_nports < 64; p = strtok(NULL, ",")) o_ports[o_nports++] = atoi(p);
    } else if (!strcmp(a, "-c"))
      o_c = atoi(v);
    else if (!strcmp(a, "-n"))
      o_n = atol(v);
    else if (!strcmp(a, "-d"))
      o_dur = atof(v);
    else if (!strcmp(a, "--warmup"))
      o_warm = atof(v);
    else if (!strcmp(a, "--rate"))
      o_rate = atof(v);
    else if (!strcmp(a, "--size"))
      o_size = atoi(v);
    else if (!strcmp(a, "--path"))
      o_path = v;
    else if (!strcmp(a, "--host"))
      o_host = v;
    else if (!strcmp(a, "--cert"))
      o_cert = v;
    else if (!strcmp(a, "--key"))
      o_key = v;
    else if (!strcmp(a, "--hosts"))
      o_hosts = v;
    else if (!strcmp(a, "--len"))
      o_expect = atol(v);
    else if (!strcmp(a, "--streams"))
      o_streams = atoi(v);
    else if (!strcmp(a, "--hold"))
      o_hold = atof(v);
    else
      return fprintf(stderr, "lg: unknown option %s\n", a), 2;
  }
  if (!o_nports) return fprintf(stderr, "lg: --ports is missing\n"), 2;
  for (int i = 0; i < o_nports; i++) {
    o_sa[i].sin_family = AF_INET;
    o_sa[i].sin_port = htons(o_ports[i]);
    if (inet_pton(AF_INET, o_addr, &o_sa[i].sin_addr) != 1) return 2;
  }
  ep = epoll_create1(0);
  if (!strcmp(mode, "http")) return run_http();
  if (!strcmp(mode, "h2")) return run_h2();
  if (!strcmp(mode, "h2stream")) return run_h2stream();
  if (!strcmp(mode, "pingpong")) return run_pingpong(0);
  if (!strcmp(mode, "cps")) return run_pingpong(1);
  if (!strcmp(mode, "bulk")) return run_bulk();
  if (!strcmp(mode, "vecho")) return run_vecho();
  if (!strcmp(mode, "tls")) return run_tls();
  if (!strcmp(mode, "tls12")) return run_tls12();
  if (!strcmp(mode, "tlsbulk")) return run_tlsbulk();
  if (!strcmp(mode, "idle")) return run_idle();
  return 2;
}
