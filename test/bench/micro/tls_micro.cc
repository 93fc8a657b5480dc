#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tls_micro_base.h"  // first: it says which API of OpenSSL is meant
#include "tls_micro_bench.h"

// What a TLS handshake costs a server inside the library, setting by setting: whole handshakes between two objects in
// this process, one request and one answer on each, only the server's calls timed (CPU of the thread, so others on the
// machine do not count). Settings are taken in turn, round by round, because the machine's speed changes.
//
//   tls_micro [--rounds N] [--batch N] [--threads N] [--only TEXT]   microseconds of a handshake
//   tls_micro --records | --memory | --list [--only TEXT]            of a record; allocations, bytes of a connection
//
// Needs nothing of the project, so that other libraries with OpenSSL's API can be compared:
//   g++ -std=c++20 -O2 tls_micro.cc -lssl -lcrypto
//   g++ -std=c++20 -O2 -I boringssl/include tls_micro.cc libssl.a libcrypto.a
// For instructions by function: valgrind --tool=callgrind --toggle-collect='*serve_*' ... --only 'p256 default'
namespace tls_micro {
namespace {

std::vector<Setting> settings() {
  std::vector<Setting> v;
  const auto add = [&](const char* name, auto change) {
    Setting s;
    s.name = name;
    change(s);
    v.push_back(s);
  };
  using S = Setting&;
  add("p256 default", [](S) {});
  add("p256 X25519", [](S s) { s.groups = "X25519"; });
  add("p256 tickets 1", [](S s) { s.tickets = 1; });
  add("p256 tickets 0", [](S s) { s.tickets = 0; });
  add("p256 tickets 0, cache off", [](S s) { s.tickets = 0, s.cache_off = true; });
  add("p256 cache off", [](S s) { s.cache_off = true; });
  add("p256 NO_TICKET (stateful)", [](S s) { s.no_ticket = true; });
  add("p256 NO_TICKET, cache off", [](S s) { s.no_ticket = s.cache_off = true; });
  add("p256 own OSSL_LIB_CTX", [](S s) { s.own_libctx = true; });
  add("p256 security level 0", [](S s) { s.security_level = 0; });
  add("p256 one group/cipher/sigalg", [](S s) { s.narrow = true; });
  add("p256 NO_AUTO_CHAIN", [](S s) { s.no_chain = true; });
  add("p256 release buffers", [](S s) { s.release_buffers = true; });
  add("p256 read ahead", [](S s) { s.read_ahead = true; });
  add("p256 span BIO", [](S s) { s.bios = Bios::kSpan; });
  add("p256 SSL_clear", [](S s) { s.reuse = true; });
  add("p256 all that helps", [](S s) {
    s.tickets = 1, s.cache_off = s.narrow = s.no_chain = s.read_ahead = true, s.bios = Bios::kSpan,
    s.security_level = 0;
  });
  add("p256 mutual", [](S s) { s.mutual = true; });
  add("p256 mutual, no verification", [](S s) { s.mutual = s.custom_verify = true; });
  add("p256 resumed", [](S s) { s.resume = true; });
  add("p256 resumed X25519", [](S s) { s.resume = true, s.groups = "X25519"; });
  add("p256 resumed, span BIO, cache off", [](S s) { s.resume = s.cache_off = true, s.bios = Bios::kSpan; });
  add("p256 TLS 1.2", [](S s) { s.version = TLS1_2_VERSION; });
  add("p256 TLS 1.2 resumed", [](S s) { s.version = TLS1_2_VERSION, s.resume = true; });
  add("p256 overlay", [](S s) { s.overlay = 8; });
  add("p256 overlay fewer", [](S s) { s.overlay = kFewer; });
  add("p256 overlay fewer+quick check", [](S s) { s.overlay = kFewer | kQuickCheck; });
  add("p256 overlay fast kdf", [](S s) { s.overlay = kFastKdf; });
  add("p256 overlay all", [](S s) { s.overlay = kAll; });
  add("p256 overlay all, tickets 1", [](S s) { s.overlay = kAll, s.tickets = 1; });
  add("p256 overlay all, tickets 0", [](S s) { s.overlay = kAll, s.tickets = 0; });
  add("p256 X25519 overlay all", [](S s) { s.overlay = kAll, s.groups = "X25519"; });
  add("p256 resumed, overlay all", [](S s) { s.overlay = kAll, s.resume = true; });
  add("p256 resumed X25519, overlay all",
      [](S s) { s.overlay = kAll, s.resume = true, s.groups = "X25519"; });
  add("p256 mutual, NO_AUTO_CHAIN", [](S s) { s.mutual = s.no_chain = true; });
  add("p256 mutual, NO_AUTO_CHAIN, NO_TICKET", [](S s) { s.mutual = s.no_chain = s.no_ticket = true; });
  add("p256 mutual, NO_AUTO_CHAIN, tickets 1", [](S s) { s.mutual = s.no_chain = true, s.tickets = 1; });
  add("p256 mutual, NO_AUTO_CHAIN, tickets 0", [](S s) { s.mutual = s.no_chain = true, s.tickets = 0; });
  add("p256 mutual, NO_AUTO_CHAIN, overlay all", [](S s) { s.mutual = s.no_chain = true, s.overlay = kAll; });
  add("p256 mutual, NO_AUTO_CHAIN, t0, overlay all",
      [](S s) { s.mutual = s.no_chain = true, s.overlay = kAll, s.tickets = 0; });
  add("p256 mutual, NO_AUTO_CHAIN, NO_TICKET, all, chain known",
      [](S s) { s.mutual = s.no_chain = s.no_ticket = s.custom_verify = true, s.overlay = kAll; });
  add("p256 mutual X25519, the same", [](S s) {
    s.mutual = s.no_chain = s.no_ticket = s.custom_verify = true, s.overlay = kAll, s.groups = "X25519";
  });
  add("p256 mutual resumed", [](S s) { s.mutual = s.resume = s.no_chain = true; });
  add("p256 mutual resumed, overlay all",
      [](S s) { s.mutual = s.resume = s.no_chain = true, s.overlay = kAll; });
  add("rsa default", [](S s) { s.key = Key::kRsa2048; });
  add("rsa X25519", [](S s) { s.key = Key::kRsa2048, s.groups = "X25519"; });
  add("rsa tickets 0", [](S s) { s.key = Key::kRsa2048, s.tickets = 0; });
  add("rsa own OSSL_LIB_CTX", [](S s) { s.key = Key::kRsa2048, s.own_libctx = true; });
  add("rsa overlay all", [](S s) { s.key = Key::kRsa2048, s.overlay = kAll; });
  add("rsa TLS 1.2", [](S s) { s.key = Key::kRsa2048, s.version = TLS1_2_VERSION; });
  if (OTHER_LIBRARY)
    std::erase_if(v, [](const Setting& s) {
      return s.overlay || s.own_libctx || s.security_level >= 0 || s.tickets != 2;
    });
  return v;
}

// ---- memory ----
void print_memory(Bench& b, const char* name) {
  b.batch(20);
  g_count.calls = 0;
  b.batch(100);
  const double calls = g_count.calls / 100.0;
  const long before = g_count.live;
  for (int i = 0; i < 200; ++i) b.open_another();
  std::printf("%-46s %6.0f allocations for a handshake, %7.0f bytes for an idle connection\n", name, calls,
              (g_count.live - before) / 200.0);
}

// ---- records ----
void print_records(Bench& b, const char* name) {
  for (const size_t size : {size_t{200}, size_t{1024}, size_t{16384}}) {
    double best[2] = {1e9, 1e9};
    for (int i = 0; i < 200; ++i) {
      const auto [w, r] = b.records(size);
      best[0] = std::min(best[0], w), best[1] = std::min(best[1], r);
    }
    std::printf("%-46s %6zu bytes: write %6.2f us, read %6.2f us\n", name, size, best[0], best[1]);
  }
}

int run(int argc, char** argv) {
  int rounds = 7, batch = 100, threads = 1;
  std::string only;
  bool list = false, records = false, memory = false;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (a == "--rounds")
      rounds = std::atoi(value());
    else if (a == "--batch")
      batch = std::atoi(value());
    else if (a == "--threads")
      threads = std::atoi(value());
    else if (a == "--only")
      only = value();
    else if (a == "--records")
      records = true;
    else if (a == "--memory")
      memory = true;
    else if (a == "--list")
      list = true;
    else
      die("options: --rounds N --batch N --threads N --only TEXT --records --memory --list");
  }
#if !OTHER_LIBRARY
  if (memory) check(CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) == 1, "mem functions");
#endif
  const Ca ca;
  std::vector<Setting> all = settings();
  std::erase_if(all, [&](const Setting& s) { return s.name.find(only) == std::string::npos; });
  if (list) {
    for (const Setting& s : all) std::puts(s.name.c_str());
    return 0;
  }
  if (memory) {
    for (const Setting& s : all) {
      Bench b(s, ca);
      print_memory(b, s.name.c_str());
    }
    return 0;
  }
  if (records) {
    std::puts(OpenSSL_version(0));
    for (const Setting& s : all) {
      Bench b(s, ca);
      print_records(b, s.name.c_str());
    }
    return 0;
  }
  std::vector<std::vector<double>> us(all.size());
  const auto measure = [&](bool keep) {
    for (int r = 0; r < rounds; ++r)
      for (size_t i = 0; i < all.size(); ++i) {
        Bench b(all[i], ca);  // new contexts each round: one session to resume for each
        b.batch(5);
        const double v = b.batch(batch);
        if (keep) us[i].push_back(v);
      }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back([&] { measure(false); });
  measure(true);
  for (std::thread& t : others) t.join();
  std::printf("%s, %d x %d handshakes, %d thread(s); us of the server for each\n", OpenSSL_version(0), rounds,
              batch, threads);
  std::printf("%-46s %8s %8s %8s\n", "", "best", "median", "xDefault");
  std::vector<double> base;
  for (size_t i = 0; i < all.size(); ++i) {
    // The ratio is within a round, to the first setting of the same kind of certificate.
    size_t ref = i;
    for (size_t k = 0; k < all.size(); ++k)
      if (all[k].key == all[i].key) {
        ref = k;
        break;
      }
    std::vector<double> q, v = us[i];
    for (size_t r = 0; r < v.size(); ++r) q.push_back(v[r] / us[ref][r]);
    std::sort(v.begin(), v.end());
    std::sort(q.begin(), q.end());
    std::printf("%-46s %8.1f %8.1f %8.2f\n", all[i].name.c_str(), v.front(), v[v.size() / 2],
                q[q.size() / 2]);
  }
  return 0;
}

}  // namespace
}  // namespace tls_micro

int main(int argc, char** argv) {
  return tls_micro::run(argc, argv);
}
