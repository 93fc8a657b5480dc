#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "io/loop.h"

// The kernel's TLS (kTLS): it writes the records of what a connection sends. TLS 1.3 alone, and sending alone.
// https://www.kernel.org/doc/html/latest/networking/tls.html
namespace sluice::io {

// Everything that writing the next record takes. Wiped when it goes.
struct KernelTlsKeys {
  uint16_t suite = 0;  // IANA's number, 0x1301 to 0x1303
  uint64_t sequence = 0;  // the next record's
  std::array<uint8_t, 32> key{};  // as long as the suite's
  std::array<uint8_t, 12> iv{};
  KernelTlsKeys() = default;
  KernelTlsKeys(const KernelTlsKeys&) = delete;
  KernelTlsKeys& operator=(const KernelTlsKeys&) = delete;
  ~KernelTlsKeys();
};

// What a loop's sockets can ask of the kernel. On one descriptor: start(), then sends with kMayBeShort, and the rest.
class KernelTls {
 public:
  // Bytes of a record beside its content: header, type, tag.
  static constexpr uint64_t kRecordOverhead = 5 + 1 + 16;
  static constexpr uint64_t kRecordContent = 16384;  // at most

  virtual ~KernelTls() = default;
  // Whether keys can be replaced while a connection lives, as KeyUpdate demands (Linux 6.14).
  virtual bool renews() const = 0;
  // What is sent from here on goes out in records. Nothing may be in flight or unsent. 0; -ENODEV: this connection is none
  // that it would help; else -errno. On error the socket sends bytes as they are, as before. `tcp_bytes`: see Progress.
  virtual int start(int fd, const KernelTlsKeys& keys, uint64_t& tcp_bytes) = 0;
  // For the records that follow. 0, -EAGAIN (again once the socket is writable), -errno.
  virtual int renew(int fd, const KernelTlsKeys& keys) = 0;
  // One record that is not application data, behind all that was sent. 0; -EAGAIN: nothing was taken; -errno.
  virtual int send_record(int fd, uint8_t type, std::span<const uint8_t> content) = 0;

  // A record is the kernel's, and counted as sent, when TCP has not taken all of it yet: FIN or close then cut it off.
  struct Progress {
    uint64_t sequence = 0;  // the next record's
    uint64_t tcp_bytes = 0;  // that TCP has been given, at least; only differences mean anything
  };
  virtual bool progress(int fd, Progress& progress) = 0;
};

std::unique_ptr<KernelTls> make_kernel_tls(const KernelTlsUse& use);

// ---- whether to ---- (blocking; at start and for `sluicectl check`)

enum class KernelTlsMode : uint8_t { automatic, on, off };

struct KernelTlsSupport {
  bool available = false;
  bool renews = false;
  std::string why;  // it is not available
};
// Tries it on a connection to itself; may make the kernel load its module.
KernelTlsSupport probe_kernel_tls();
// Network devices of this thread's network namespace with tls-hw-tx-offload on, as "eth0, eth1"; "": none.
std::string tls_offload_devices();
// SO_NETNS_COOKIE of a socket; 0: the kernel does not say.
uint64_t netns_cookie(int fd);
// Is it there without asking for the module to be loaded?
bool kernel_tls_loaded();
// Logs what follows from it.
KernelTlsUse choose_kernel_tls(KernelTlsMode mode);

}  // namespace sluice::io
