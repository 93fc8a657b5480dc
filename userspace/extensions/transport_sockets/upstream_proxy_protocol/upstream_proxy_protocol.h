#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/proxy_protocol.h"
#include "sluice/ext/transport_socket.h"

namespace sluice::ext {
struct StreamInfo;
}

namespace sluice::extensions::upstream_proxy_protocol {

struct Settings {
  bool v2 = false;
  using Tlv = ProxyTlv;
  std::vector<Tlv> added;  // v2 alone
  ext::UpstreamTransportFactory inner;  // null: raw_buffer
};

// The header that goes before the first bytes of a connection made for `downstream`: its addresses, or, where it has none
// of one family (null: a health check), that the connection is the proxy's own (LOCAL, UNKNOWN). TLVs that would make it
// longer than a header can be are left out. https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
std::string header(const Settings& settings, const ext::StreamInfo* downstream);

// envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport.
ext::UpstreamTransportFactory make_factory(Settings settings);

}  // namespace sluice::extensions::upstream_proxy_protocol
