#pragma once

#include <string>

#include "core/address.h"

namespace sluice {

// The header of the PROXY protocol, version 1 or 2, that tells a server from whom a TCP connection came and to whom it
// went (haproxy.org/download/2.8/doc/proxy-protocol.txt, sections 2.1 and 2.2). Addresses that are not both IP, or not of
// one family: version 1 says UNKNOWN, version 2 LOCAL, as the document asks for.
std::string proxy_protocol_header(int version, const Address& source, const Address& destination);

}  // namespace sluice
