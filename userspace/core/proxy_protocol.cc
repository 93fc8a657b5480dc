#include "core/proxy_protocol.h"

#include <string_view>

namespace sluice {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr char kLocal = 0x20, kProxy = 0x21;  // version 2, and the command
constexpr char kTcp4 = 0x11, kTcp6 = 0x21;

void put(std::string& out, size_t number) {
  out.push_back(static_cast<char>(number >> 8 & 0xff));
  out.push_back(static_cast<char>(number & 0xff));
}

}  // namespace

std::string proxy_protocol_header(int version, const Address& source, const Address& destination,
                                  std::span<const ProxyTlv> tlvs) {
  Address from = source.unmapped(), to = destination.unmapped();
  if (from.is_ip() && to.is_ip() && from.family() != to.family()) from = source, to = destination;
  const bool known = from.is_ip() && from.family() == to.family();
  const bool v4 = from.ip().is_v4();
  if (version == 1) {
    if (!known) return "PROXY UNKNOWN\r\n";
    return std::string("PROXY ") + (v4 ? "TCP4 " : "TCP6 ") + from.ip().to_string() + ' ' +
           to.ip().to_string() + ' ' + std::to_string(from.port()) + ' ' + std::to_string(to.port()) + "\r\n";
  }
  std::string out(kSignature);
  if (!known) return out.append({kLocal, 0, 0, 0});
  std::string body;
  for (const Address* address : {&from, &to})
    body.append(reinterpret_cast<const char*>(address->ip().bytes().data()), v4 ? 4 : 16);
  put(body, from.port());
  put(body, to.port());
  for (const ProxyTlv& tlv : tlvs) {
    if (body.size() + 3 + tlv.value.size() > kProxyHeaderBodyMax) continue;
    body.push_back(static_cast<char>(tlv.type));
    put(body, tlv.value.size());
    body += tlv.value;
  }
  out.push_back(kProxy);
  out.push_back(v4 ? kTcp4 : kTcp6);
  put(out, body.size());
  return out + body;
}

}  // namespace sluice
