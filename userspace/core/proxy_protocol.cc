#include "core/proxy_protocol.h"

#include <string_view>

namespace sluice {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr char kLocal = 0x20, kProxy = 0x21;  // version 2, and the command
constexpr char kTcp4 = 0x11, kTcp6 = 0x21;

void put(std::string& out, uint16_t number) {
  out.push_back(static_cast<char>(number >> 8));
  out.push_back(static_cast<char>(number & 0xff));
}

}  // namespace

std::string proxy_protocol_header(int version, const Address& source, const Address& destination) {
  const Address from = source.unmapped(), to = destination.unmapped();
  const bool known = from.is_ip() && from.family() == to.family();
  const bool v4 = from.ip().is_v4();
  if (version == 1) {
    if (!known) return "PROXY UNKNOWN\r\n";
    return std::string("PROXY ") + (v4 ? "TCP4 " : "TCP6 ") + from.ip().to_string() + ' ' +
           to.ip().to_string() + ' ' + std::to_string(from.port()) + ' ' + std::to_string(to.port()) + "\r\n";
  }
  std::string out(kSignature);
  out.push_back(known ? kProxy : kLocal);
  out.push_back(!known ? '\0' : v4 ? kTcp4 : kTcp6);
  const size_t size = v4 ? 4 : 16;
  put(out, known ? static_cast<uint16_t>(2 * size + 4) : uint16_t{0});
  if (!known) return out;
  for (const Address* address : {&from, &to})
    out.append(reinterpret_cast<const char*>(address->ip().bytes().data()), size);
  put(out, from.port());
  put(out, to.port());
  return out;
}

}  // namespace sluice
