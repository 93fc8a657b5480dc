#include "core/own_address.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "core/address.h"

namespace sluice {

std::string find_own_address() {
  std::string found = "127.0.0.1";
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return found;
  for (ifaddrs* i = all; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP)) continue;
    IpAddress ip = IpAddress::v4(reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr.s_addr);
    if (ip.is_loopback()) continue;
    found = ip.to_string();
    break;
  }
  freeifaddrs(all);
  return found;
}

}  // namespace sluice
