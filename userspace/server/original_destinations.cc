#include "server/original_destinations.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "redirect/redirector.h"

namespace sluice::server {
namespace {

constexpr int kSoOriginalDst =
    80;  // linux/netfilter_ipv4.h SO_ORIGINAL_DST, ip6t_ipv6.h IP6T_SO_ORIGINAL_DST

std::optional<Address> from_conntrack(int fd, int family) {
  sockaddr_storage storage{};
  socklen_t len = sizeof storage;
  int level = family == AF_INET6 ? SOL_IPV6 : SOL_IP;
  if (getsockopt(fd, level, kSoOriginalDst, &storage, &len) != 0) return std::nullopt;
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), len);
}

}  // namespace

std::optional<Address> SystemOriginalDestinations::find(int fd, const Address& local,
                                                        const Address& listening) {
  if (!local.is_ip()) return std::nullopt;
  if (redirector_)
    if (auto record = redirector_->original_destination(fd)) return record->address;
  if (local.port() != listening.port()) return local;
  if (!listening.ip().is_any() && local.ip() != listening.ip()) return local;
  if (redirector_) return std::nullopt;
  return from_conntrack(fd, local.family());
}

}  // namespace sluice::server
