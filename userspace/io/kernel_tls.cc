#include "io/kernel_tls.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "core/fd.h"
#include "core/log.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::io {
namespace {

void wipe(void* p, size_t n) {
  explicit_bzero(p, n);
}

union CryptoInfo {
  tls_crypto_info info;
  tls12_crypto_info_aes_gcm_128 aes128;
  tls12_crypto_info_aes_gcm_256 aes256;
  tls12_crypto_info_chacha20_poly1305 chacha;
  CryptoInfo() { std::memset(this, 0, sizeof(*this)); }
  ~CryptoInfo() { wipe(this, sizeof(*this)); }
};

template <typename Info>
void fill(Info& to, const KernelTlsKeys& keys, uint16_t cipher) {
  to.info = {.version = TLS_1_3_VERSION, .cipher_type = cipher};
  std::memcpy(to.key, keys.key.data(), sizeof(to.key));
  // The kernel's names are TLS 1.2's: the nonce's first bytes are the salt.
  constexpr size_t salt = 12 - sizeof(to.iv);
  if constexpr (salt > 0) std::memcpy(to.salt, keys.iv.data(), salt);
  std::memcpy(to.iv, keys.iv.data() + salt, sizeof(to.iv));
  for (size_t i = 0; i < 8; ++i) to.rec_seq[i] = static_cast<uint8_t>(keys.sequence >> 8 * (7 - i));
}

// 0: a suite that the kernel does not know.
socklen_t fill(CryptoInfo& to, const KernelTlsKeys& keys) {
  switch (keys.suite) {
    case 0x1301:
      fill(to.aes128, keys, TLS_CIPHER_AES_GCM_128);
      return sizeof(to.aes128);
    case 0x1302:
      fill(to.aes256, keys, TLS_CIPHER_AES_GCM_256);
      return sizeof(to.aes256);
    case 0x1303:
      fill(to.chacha, keys, TLS_CIPHER_CHACHA20_POLY1305);
      return sizeof(to.chacha);
    default:
      return 0;
  }
}

uint64_t big_endian(const unsigned char (&bytes)[8]) {
  uint64_t n = 0;
  for (const unsigned char b : bytes) n = n << 8 | b;
  return n;
}

int set_keys(int fd, const KernelTlsKeys& keys) {
  CryptoInfo info;
  const socklen_t size = fill(info, keys);
  if (size == 0) return -EOPNOTSUPP;
  return setsockopt(fd, SOL_TLS, TLS_TX, &info, size) == 0 ? 0 : -errno;
}

int set_ulp(int fd) {
  return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) == 0 ? 0 : -errno;
}

bool bytes_acked(int fd, uint64_t& n) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  if (size < offsetof(tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked)) return false;
  n = info.tcpi_bytes_acked;
  return true;
}

// Never more than TCP has been given: acknowledgements between the two calls make it less.
bool given_to_tcp(int fd, uint64_t& n) {
  int queued = 0;
  if (!bytes_acked(fd, n) || ioctl(fd, SIOCOUTQ, &queued) != 0) return false;
  n += static_cast<uint64_t>(queued);
  return true;
}

// Exactly that, where nothing is being sent.
bool given_to_tcp_exactly(int fd, uint64_t& n) {
  for (int i = 0; i < 16; ++i) {
    uint64_t before = 0, after = 0;
    if (!bytes_acked(fd, before) || !given_to_tcp(fd, n) || !bytes_acked(fd, after)) return false;
    if (before == after) return true;
  }
  return false;
}

class SystemKernelTls final : public KernelTls {
 public:
  explicit SystemKernelTls(const KernelTlsUse& use) : use_(use) {
    // Opened now: later this thread may be in a pod's network namespace.
    if (use_.devices_only) statistics_.reset(open("/proc/thread-self/net/tls_stat", O_RDONLY | O_CLOEXEC));
  }
  bool renews() const override { return use_.renews; }

  int start(int fd, const KernelTlsKeys& keys, uint64_t& tcp_bytes) override {
    if (use_.devices_only && !leaves_by_device(fd)) return -ENODEV;
    if (!given_to_tcp_exactly(fd, tcp_bytes)) return -EOPNOTSUPP;
    if (int r = set_ulp(fd); r != 0) return r;
    const uint64_t before = use_.devices_only && !seen_ ? offloaded_connections() : 0;
    const int r = set_keys(fd, keys);
    if (r == 0 && use_.devices_only && !seen_) judge(before);
    return r;
  }
  int renew(int fd, const KernelTlsKeys& keys) override { return set_keys(fd, keys); }

  int send_record(int fd, uint8_t type, std::span<const uint8_t> content) override {
    iovec iov{const_cast<uint8_t*>(content.data()), content.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(type))] = {};
    msghdr msg{};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    cmsghdr* c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_TLS;
    c->cmsg_type = TLS_SET_RECORD_TYPE;
    c->cmsg_len = CMSG_LEN(sizeof(type));
    std::memcpy(CMSG_DATA(c), &type, sizeof(type));
    ssize_t n;
    do n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    return static_cast<size_t>(n) == content.size() ? 0 : -EIO;
  }

  bool progress(int fd, Progress& p) override {
    CryptoInfo info;
    socklen_t size = sizeof(info.info);
    if (getsockopt(fd, SOL_TLS, TLS_TX, &info, &size) != 0) return false;
    const uint16_t cipher = info.info.cipher_type;
    size = cipher == TLS_CIPHER_AES_GCM_128   ? sizeof(info.aes128)
           : cipher == TLS_CIPHER_AES_GCM_256 ? sizeof(info.aes256)
                                              : sizeof(info.chacha);
    if (getsockopt(fd, SOL_TLS, TLS_TX, &info, &size) != 0) return false;
    p.sequence = cipher == TLS_CIPHER_AES_GCM_128   ? big_endian(info.aes128.rec_seq)
                 : cipher == TLS_CIPHER_AES_GCM_256 ? big_endian(info.aes256.rec_seq)
                                                    : big_endian(info.chacha.rec_seq);
    return given_to_tcp(fd, p.tcp_bytes);
  }

 private:
  // Only sockets of the node's own namespace leave by its devices: a pod's go to a veth, and to others on the node by none.
  bool leaves_by_device(int fd) {
    if (gave_up_) return false;
    sockaddr_storage own{}, peer{};
    socklen_t own_size = sizeof(own), peer_size = sizeof(peer);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 ||
        getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0)
      return false;
    const bool same =
        own.ss_family == peer.ss_family &&
        (own.ss_family == AF_INET
             ? reinterpret_cast<sockaddr_in&>(own).sin_addr.s_addr ==
                   reinterpret_cast<sockaddr_in&>(peer).sin_addr.s_addr
             : std::memcmp(&reinterpret_cast<sockaddr_in6&>(own).sin6_addr,
                           &reinterpret_cast<sockaddr_in6&>(peer).sin6_addr, sizeof(in6_addr)) == 0);
    return !same && use_.netns_cookie != 0 && netns_cookie(fd) == use_.netns_cookie;
  }

  // Connections that the kernel has given to a device.
  uint64_t offloaded_connections() const {
    constexpr std::string_view kName = "TlsTxDevice";
    char text[2048];
    const ssize_t n = pread(statistics_.get(), text, sizeof(text) - 1, 0);
    if (n <= 0) return 0;
    text[n] = 0;
    const char* line = std::strstr(text, kName.data());
    return line ? std::strtoull(line + kName.size(), nullptr, 10) : 0;
  }

  // A device that offers it need not take TLS 1.3: the first connection shows. (Another program's counts as well.)
  void judge(uint64_t before) {
    seen_ = true;
    if (offloaded_connections() > before) return;
    gave_up_ = true;
    SLUICE_LOG(io, info, "kTLS: the network device does not take TLS 1.3's records; they are written here");
  }

  const KernelTlsUse use_;
  Fd statistics_;  // devices_only
  bool seen_ = false;
  bool gave_up_ = false;
};

}  // namespace

uint64_t netns_cookie(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

KernelTlsKeys::~KernelTlsKeys() {
  wipe(key.data(), key.size());
  wipe(iv.data(), iv.size());
}

std::unique_ptr<KernelTls> make_kernel_tls(const KernelTlsUse& use) {
  return use.use ? std::make_unique<SystemKernelTls>(use) : nullptr;
}

}  // namespace sluice::io
