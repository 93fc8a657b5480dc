// Whether to leave records to the kernel: what it has, and what the network devices have.
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/log.h"
#include "io/kernel_tls.h"

namespace sluice::io {
namespace {

constexpr std::string_view kFeature = "tls-hw-tx-offload";

// A connection to ourselves: TLS is for established ones. Invalid with errno where not even that can be had.
Fd connect_to_self(Fd& other) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(at);
  auto* address = reinterpret_cast<sockaddr*>(&at);
  Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid() || !fd.valid() || bind(listener.get(), address, sizeof(at)) != 0 ||
      listen(listener.get(), 1) != 0 || getsockname(listener.get(), address, &size) != 0 ||
      connect(fd.get(), address, size) != 0)
    return {};
  other.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return other.valid() ? std::move(fd) : Fd();
}

int ask(int fd, const std::string& device, void* question) {
  ifreq request{};
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = static_cast<char*>(question);
  return ioctl(fd, SIOCETHTOOL, &request);
}

// A question of ethtool's with room for its answer behind it.
template <typename T>
struct Question {
  explicit Question(size_t room) : words((sizeof(T) + room + 7) / 8) {}
  T* operator->() { return reinterpret_cast<T*>(words.data()); }
  void* data() { return words.data(); }
  std::vector<uint64_t> words;
};

bool offloads(int fd, const std::string& device) {
  Question<ethtool_sset_info> count(sizeof(uint32_t));
  count->cmd = ETHTOOL_GSSET_INFO;
  count->sset_mask = 1ULL << ETH_SS_FEATURES;
  if (ask(fd, device, count.data()) != 0 || count->sset_mask == 0) return false;
  const uint32_t n = count->data[0];
  Question<ethtool_gstrings> names(size_t{n} * ETH_GSTRING_LEN);
  names->cmd = ETHTOOL_GSTRINGS;
  names->string_set = ETH_SS_FEATURES;
  names->len = n;
  if (ask(fd, device, names.data()) != 0) return false;
  const uint32_t blocks = (n + 31) / 32;
  Question<ethtool_gfeatures> features(size_t{blocks} * sizeof(ethtool_get_features_block));
  features->cmd = ETHTOOL_GFEATURES;
  features->size = blocks;
  if (ask(fd, device, features.data()) != 0) return false;
  for (uint32_t i = 0; i < n; ++i) {
    const char* name = reinterpret_cast<const char*>(names->data) + size_t{i} * ETH_GSTRING_LEN;
    if (std::string_view(name, strnlen(name, ETH_GSTRING_LEN)) == kFeature)
      return i / 32 < features->size && (features->features[i / 32].active & 1U << i % 32) != 0;
  }
  return false;
}

}  // namespace

KernelTlsSupport probe_kernel_tls() {
  KernelTlsSupport support;
  Fd other;
  Fd fd = connect_to_self(other);
  if (!fd.valid()) {
    support.why = std::string("no connection to try it on: ") + std::strerror(errno);
    return support;
  }
  auto kernel = make_kernel_tls({.use = true});
  KernelTlsKeys keys;  // nothing is sent with these
  keys.suite = 0x1301;
  uint64_t bytes = 0;
  if (const int r = kernel->start(fd.get(), keys, bytes); r != 0) {
    support.why = r == -ENOENT ? "no module 'tls'" : std::strerror(-r);
    return support;
  }
  support.available = true;
  support.renews = kernel->renew(fd.get(), keys) == 0;
  return support;
}

std::string tls_offload_devices() {
  std::string found;
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct if_nameindex* devices = fd.valid() ? if_nameindex() : nullptr;
  if (!devices) return found;
  for (const struct if_nameindex* d = devices; d->if_name; ++d)
    if (offloads(fd.get(), d->if_name)) found += (found.empty() ? "" : ", ") + std::string(d->if_name);
  if_freenameindex(devices);
  return found;
}

bool kernel_tls_loaded() {
  std::ifstream in("/proc/sys/net/ipv4/tcp_available_ulp");
  for (std::string name; in >> name;)
    if (name == "tls") return true;
  return false;
}

KernelTlsUse choose_kernel_tls(KernelTlsMode mode) {
  KernelTlsUse use;
  if (mode == KernelTlsMode::off) return use;
  std::string devices;
  if (mode == KernelTlsMode::automatic) {
    devices = tls_offload_devices();
    if (devices.empty()) return use;  // the module need not even be loaded
  }
  const KernelTlsSupport support = probe_kernel_tls();
  if (mode == KernelTlsMode::automatic) {
    const Fd own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    use.netns_cookie = netns_cookie(own.get());
    use.devices_only = support.available && support.renews;
    use.use = use.devices_only && use.netns_cookie != 0;
    use.renews = support.renews;
    if (use.use)
      SLUICE_LOG(io, info, "kTLS: connections that leave by {} are encrypted there if it takes TLS 1.3",
                 devices);
    return use;
  }
  use.use = support.available;
  use.renews = support.renews;
  if (!support.available) {
    SLUICE_LOG(io, warn, "--ktls=on: the kernel has none ({}); records are written here", support.why);
  } else if (!support.renews) {
    SLUICE_LOG(
        io, warn,
        "--ktls=on: this kernel cannot renew keys (Linux 6.14 can): a TLS 1.3 connection whose client asks "
        "for it, or that has sent 2^24 records, ends when it next has something to send");
  }
  return use;
}

}  // namespace sluice::io
