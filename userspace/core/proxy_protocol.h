#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/address.h"

namespace sluice {

// What a header of version 2 can have behind its first 16 bytes: its length has two.
inline constexpr size_t kProxyHeaderBodyMax = 65535;

struct ProxyTlv {
  uint8_t type;
  std::string value;
};

// The header of the PROXY protocol, version 1 or 2, that tells a server from whom a TCP connection came and to whom it
// went (haproxy.org/download/2.8/doc/proxy-protocol.txt, sections 2.1 and 2.2). Addresses that are not both IP, or not of
// one family (an IPv4-mapped one is of either): version 1 says UNKNOWN, version 2 LOCAL, as the document asks for. `tlvs`
// go with version 2 and known addresses; those that would make the header longer than it can be are left out.
std::string proxy_protocol_header(int version, const Address& source, const Address& destination,
                                  std::span<const ProxyTlv> tlvs = {});

}  // namespace sluice
