#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/address.h"
#include "extensions/filters/network/http_connection_manager/settings.h"
#include "http/header_map.h"

// Who sent a request: the connection's peer, or whom x-forwarded-for or another header names.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-for
namespace sluice::extensions::http_connection_manager {

struct ForwardedAddress {
  std::optional<IpAddress> address;  // nothing: none there, or not an address
  bool single = false;  // it is the only one in the header
};

// The last address of x-forwarded-for but `skip`.
ForwardedAddress last_forwarded_address(const http::HeaderMap& headers, uint32_t skip);
// From the right, the first address that is not in `trusted`; all are: the leftmost.
ForwardedAddress last_untrusted_address(const http::HeaderMap& headers, const std::vector<Cidr>& trusted);
// Appends the peer's address; a peer on this host is named by the host's own address.
void append_forwarded_for(http::HeaderMap& headers, const IpAddress& peer, std::string_view own_address);

struct DetectedAddress {
  std::optional<IpAddress> address;
  bool may_be_internal = false;
  uint16_t reject_status = 0;  // 0: go on
};
// The detection extensions in order (not with use_remote_address). Appends to x-forwarded-for where they say so.
DetectedAddress detect_address(const Settings& settings, http::HeaderMap& headers, const Address& peer);

bool is_internal(const Settings& settings, const IpAddress& address);
// The textual form that headers have (represent_ipv4_remote_address_as_ipv4_mapped_ipv6 changes it).
std::string address_text(const Settings& settings, const IpAddress& address);

}  // namespace sluice::extensions::http_connection_manager
