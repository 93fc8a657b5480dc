// The kernel's TLS on real sockets. Most kernels have it as a module; where it cannot be had, only that is looked at.
#include "io/kernel_tls.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "test/unit/io/rig.h"

using namespace sluice;
using namespace sluice::io;

namespace {

constexpr uint8_t kAlert = 21;
constexpr std::array<uint8_t, 2> kCloseNotify = {1, 0};

bool present() {
  static const KernelTlsSupport found = probe_kernel_tls();
  if (!found.available) MESSAGE("this kernel has no TLS: " << found.why);
  return found.available;
}

template <typename Backend>
std::unique_ptr<Loop> loop_with_tls(bool devices_only = false) {
  KernelTlsUse use{.use = true, .renews = probe_kernel_tls().renews, .devices_only = devices_only};
  return Backend::make({.kernel_tls = use});
}

// Content lengths of the records in `bytes`; what is no record ends them with 0.
std::vector<size_t> records(std::string_view bytes) {
  std::vector<size_t> found;
  while (!bytes.empty()) {
    const size_t length = bytes.size() < 5 ? 0
                                           : static_cast<size_t>(static_cast<uint8_t>(bytes[3])) << 8 |
                                                 static_cast<uint8_t>(bytes[4]);
    if (!bytes.starts_with("\x17\x03\x03") || length < 17 || bytes.size() < 5 + length) {
      found.push_back(0);
      break;
    }
    found.push_back(length - 17);
    bytes.remove_prefix(5 + length);
  }
  return found;
}

// Sends all, as a connection does.
void send_all(Rig& r, int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    Probe p;
    iovec v{const_cast<char*>(bytes.data()), bytes.size()};
    r.loop->send(p.op, fd, {&v, 1}, kMayBeShort);
    REQUIRE(r.finish(p));
    REQUIRE(p.result > 0);
    bytes.remove_prefix(static_cast<size_t>(p.result));
  }
}

SLUICE_EACH_KERNEL_BACKEND(
    "kernel TLS: what is sent comes out in records of three suites, counted to the byte") {
  if (!present()) return;
  for (const uint16_t suite : {0x1301, 0x1302, 0x1303}) {
    Rig r(loop_with_tls<Backend>());
    KernelTls& tls = *r.loop->kernel_tls();
    const auto [peer, fd] = r.connect();
    REQUIRE(r.send(fd, "ours") == 4);
    KernelTlsKeys keys;
    keys.suite = suite;
    keys.sequence = 7;
    uint64_t start = 0;
    const int r_start = tls.start(fd, keys, start);
    if (r_start != 0 && suite == 0x1303) {
      MESSAGE("no ChaCha20-Poly1305 in this kernel");
      continue;
    }
    REQUIRE(r_start == 0);
    KernelTls::Progress p;
    REQUIRE(tls.progress(fd, p));
    CHECK(p.sequence == 7);
    CHECK(p.tcp_bytes == start);
    send_all(r, fd, "hello");
    CHECK(tls.send_record(fd, kAlert, kCloseNotify) == 0);
    r.loop->shutdown_write(fd);
    std::string got;
    CHECK(r.recv_all(peer, got) == 0);
    REQUIRE(got.starts_with("ours"));
    CHECK(records(std::string_view(got).substr(4)) == std::vector<size_t>{5, 2});
    CHECK(got.find("hello") == std::string::npos);
    REQUIRE(tls.progress(fd, p));
    CHECK(p.sequence == 9);
    // FIN counts as one.
    const uint64_t bytes = p.tcp_bytes - start;
    CHECK(bytes >= 7 + 2 * KernelTls::kRecordOverhead);
    CHECK(bytes <= 7 + 2 * KernelTls::kRecordOverhead + 1);
  }
}

// What the connection's wait before FIN rests on: a part of a record that TCP has not taken shows, until it has.
SLUICE_EACH_KERNEL_BACKEND("kernel TLS: a peer that reads nothing; what TCP has not taken is known") {
  if (!present()) return;
  Rig r(loop_with_tls<Backend>());
  KernelTls& tls = *r.loop->kernel_tls();
  const auto [peer, fd] = r.connect();
  KernelTlsKeys keys;
  keys.suite = 0x1301;
  uint64_t start = 0;
  REQUIRE(tls.start(fd, keys, start) == 0);
  const std::string big(64 << 20, 'x');
  uint64_t content = 0;
  Probe sending;
  iovec v{const_cast<char*>(big.data()), big.size()};
  r.loop->send(sending.op, fd, {&v, 1}, kMayBeShort);
  r.turns(50);
  r.loop->cancel(sending.op);  // epoll's send goes on until it is done
  REQUIRE(r.finish(sending));
  REQUIRE(sending.result > 0);
  content += static_cast<uint64_t>(sending.result);
  CHECK(content < big.size());  // short: there is no room for more
  const int again = tls.send_record(fd, kAlert, kCloseNotify);
  CHECK((again == -EAGAIN || again == 0));
  if (again == 0) content += kCloseNotify.size();
  std::string got;
  size_t due = 0;
  KernelTls::Progress p;
  auto drained = [&] {
    REQUIRE(tls.progress(fd, p));
    due = content + p.sequence * KernelTls::kRecordOverhead;
    CHECK(p.tcp_bytes - start <= due);
    return p.tcp_bytes - start == due;
  };
  while (!drained() || got.size() < due) {
    std::string part;
    REQUIRE(r.recv(peer, part, {.bulk = true}) > 0);
    got += part;
  }
  uint64_t total = 0;
  for (const size_t n : records(got)) total += n;
  CHECK(total == content);
}

SLUICE_EACH_KERNEL_BACKEND("kernel TLS: keys are renewed where the probe says so") {
  if (!present()) return;
  Rig r(loop_with_tls<Backend>());
  KernelTls& tls = *r.loop->kernel_tls();
  const auto [peer, fd] = r.connect();
  KernelTlsKeys keys;
  keys.suite = 0x1302;
  keys.sequence = 3;
  uint64_t start = 0;
  REQUIRE(tls.start(fd, keys, start) == 0);
  keys.sequence = 0;
  keys.key[0] = 1;
  CHECK((tls.renew(fd, keys) == 0) == tls.renews());
  KernelTls::Progress p;
  REQUIRE(tls.progress(fd, p));
  CHECK(p.sequence == (tls.renews() ? 0 : 3));
  send_all(r, fd, "on");
  std::string got;
  CHECK(r.recv(peer, got) == 2 + static_cast<int>(KernelTls::kRecordOverhead));
}

SLUICE_EACH_KERNEL_BACKEND("kernel TLS: a socket that is refused goes on as it was") {
  Rig r(loop_with_tls<Backend>());
  KernelTls& tls = *r.loop->kernel_tls();
  const auto [peer, fd] = r.connect();
  KernelTlsKeys keys;
  keys.suite = 0xffff;  // unknown to any kernel
  uint64_t start = 0;
  CHECK(tls.start(fd, keys, start) < 0);
  KernelTls::Progress p;
  CHECK_FALSE(tls.progress(fd, p));
  CHECK(r.send(fd, "as it was") == 9);
  std::string got;
  CHECK(r.recv(peer, got) == 9);
  CHECK(got == "as it was");
  if (!present()) {
    keys.suite = 0x1301;
    CHECK(tls.start(fd, keys, start) < 0);
  }
}

SLUICE_EACH_KERNEL_BACKEND("kernel TLS: kept for devices, it leaves connections alone that never reach one") {
  Rig r(loop_with_tls<Backend>(true));
  const auto [peer, fd] = r.connect();
  KernelTlsKeys keys;
  keys.suite = 0x1301;
  uint64_t start = 0;
  CHECK(r.loop->kernel_tls()->start(fd, keys, start) == -ENODEV);
}

TEST_CASE("kernel TLS: no loop has it unasked") {
  CHECK(IoUring::make()->kernel_tls() == nullptr);
  CHECK_FALSE(choose_kernel_tls(KernelTlsMode::off).use);
  // Loopback and the like do not encrypt.
  if (tls_offload_devices().empty()) CHECK_FALSE(choose_kernel_tls(KernelTlsMode::automatic).use);
  CHECK(choose_kernel_tls(KernelTlsMode::on).use == present());
}

}  // namespace
