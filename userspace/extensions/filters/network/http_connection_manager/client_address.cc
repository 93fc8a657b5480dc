#include "extensions/filters/network/http_connection_manager/client_address.h"

#include <algorithm>

namespace sluice::extensions::http_connection_manager {
namespace {

using http::HeaderMap;
using http::Name;

std::string_view trim(std::string_view s) {
  auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

std::optional<IpAddress> parse(std::string_view text) {
  auto ip = IpAddress::parse(trim(text));
  if (!ip.ok()) return std::nullopt;
  return *ip;
}

bool in_any(const std::vector<Cidr>& ranges, const IpAddress& address) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Cidr& c) { return c.contains(address); });
}

}  // namespace

ForwardedAddress last_forwarded_address(const HeaderMap& headers, uint32_t skip) {
  std::string scratch;
  auto value = headers.has(Name::x_forwarded_for) ? headers.joined("x-forwarded-for", scratch) : std::nullopt;
  if (!value) return {};
  std::string_view list = *value;
  for (uint32_t i = 0; i < skip; ++i) {
    size_t comma = list.rfind(',');
    if (comma == std::string_view::npos) return {};
    list = list.substr(0, comma);
  }
  size_t comma = list.rfind(',');
  if (comma != std::string_view::npos && comma + 1 < list.size()) list = list.substr(comma + 1);
  auto address = parse(list);
  return {address, address && comma == std::string_view::npos && skip == 0};
}

ForwardedAddress last_untrusted_address(const HeaderMap& headers, const std::vector<Cidr>& trusted) {
  std::string scratch;
  auto value = headers.has(Name::x_forwarded_for) ? headers.joined("x-forwarded-for", scratch) : std::nullopt;
  if (!value) return {};
  ForwardedAddress found;
  for (std::string_view list = *value;;) {
    size_t comma = list.rfind(',');
    auto address = parse(comma == std::string_view::npos ? list : list.substr(comma + 1));
    if (!address) return found;
    found.address = address;
    if (!in_any(trusted, *address) || comma == std::string_view::npos) return found;
    list = list.substr(0, comma);
  }
}

void append_forwarded_for(HeaderMap& headers, const IpAddress& peer, std::string_view own_address) {
  std::string scratch;
  std::string text = peer.is_loopback() ? std::string(own_address) : peer.to_string();
  auto old = headers.has(Name::x_forwarded_for) ? headers.joined("x-forwarded-for", scratch) : std::nullopt;
  if (old && !old->empty()) text.insert(0, std::string(*old) + ",");
  headers.set(Name::x_forwarded_for, text);
}

DetectedAddress detect_address(const Settings& settings, HeaderMap& headers, const Address& peer) {
  auto append = [&] {
    if (peer.is_ip())
      append_forwarded_for(headers, settings.ipv4_as_mapped ? peer.ip() : peer.ip().unmapped(),
                           settings.own_address);
  };
  for (const IpDetection& d : settings.ip_detection) {
    if (d.kind == IpDetection::Kind::custom_header) {
      auto address = parse(headers.get(d.header));
      if (!address) {
        if (d.reject_status != 0) return {std::nullopt, false, d.reject_status};
        continue;
      }
      append();
      return {address, d.trusted};
    }
    ForwardedAddress found;
    if (d.trusted_cidrs.empty())
      found = last_forwarded_address(headers, d.trusted_hops);
    else if (peer.is_ip() && in_any(d.trusted_cidrs, peer.ip()))
      found = last_untrusted_address(headers, d.trusted_cidrs);
    if (!found.address) continue;
    if (!d.skip_append) append();
    return {found.address, found.single};
  }
  return {};
}

bool is_internal(const Settings& settings, const IpAddress& address) {
  return in_any(settings.internal_cidrs, address);
}

std::string address_text(const Settings& settings, const IpAddress& address) {
  std::string text = address.to_string();
  return settings.ipv4_as_mapped && address.is_v4() ? "::ffff:" + text : text;
}

}  // namespace sluice::extensions::http_connection_manager
