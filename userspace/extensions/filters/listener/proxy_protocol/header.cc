#include "extensions/filters/listener/proxy_protocol/header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace sluice::extensions::proxy_protocol {
namespace {

using State = Header::State;
constexpr std::string_view kSignatureV1 = "PROXY ";
constexpr std::string_view kSignatureV2{"\r\n\r\n\0\r\nQUIT\n", kV2Signature};

uint8_t byte_at(std::string_view bytes, size_t i) {
  return static_cast<uint8_t>(bytes[i]);
}
uint16_t number_at(std::string_view bytes, size_t i) {
  return static_cast<uint16_t>(byte_at(bytes, i) << 8 | byte_at(bytes, i + 1));
}

// Can a TCP connection begin or end there?
bool unicast(const IpAddress& ip) {
  if (ip.is_any()) return false;
  const uint8_t first = ip.bytes()[0];
  if (ip.is_v6()) return first != 0xff;
  return (first & 0xf0) != 0xe0 && ip.v4_be() != 0xffffffff;
}

Header finish(Header h) {
  if (!h.local && (!unicast(h.source.ip()) || !unicast(h.destination.ip()))) h.state = State::malformed;
  return h;
}

bool blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// Envoy is as generous: leading zeros, a plus sign.
std::optional<uint16_t> parse_port(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  uint32_t port = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    port = port * 10 + static_cast<uint32_t>(c - '0');
    if (port > 65535) return std::nullopt;
  }
  return text.empty() ? std::nullopt : std::optional<uint16_t>(static_cast<uint16_t>(port));
}

std::optional<Address> parse_address(std::string_view ip_text, std::string_view port_text, int family) {
  const auto ip = IpAddress::parse(ip_text);
  const auto port = parse_port(port_text);
  if (!ip.ok() || ip.value().family() != family || !port) return std::nullopt;
  return Address(ip.value(), *port);
}

// `line`: with its CR and LF. One blank between words; what is behind UNKNOWN is not looked at.
Header parse_v1(std::string_view line) {
  Header h(State::malformed, Version::v1);
  h.size = line.size();
  while (!line.empty() && blank(line.back())) line.remove_suffix(1);
  std::array<std::string_view, 6> words;
  size_t count = 0;
  for (size_t at = 0; at <= line.size() && count <= words.size();) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (count < words.size()) words[count] = line.substr(at, end - at);
    ++count;
    at = end + 1;
  }
  if (count < 2 || words[0] != "PROXY") return h;
  if (words[1] == "UNKNOWN") {
    h.state = State::present;
    h.local = true;
    return h;
  }
  const int family = words[1] == "TCP4" ? AF_INET : words[1] == "TCP6" ? AF_INET6 : AF_UNSPEC;
  if (count != 6 || family == AF_UNSPEC) return h;
  const auto source = parse_address(words[2], words[4], family);
  const auto destination = parse_address(words[3], words[5], family);
  if (!source || !destination) return h;
  h.source = *source, h.destination = *destination;
  h.state = State::present;
  return finish(h);
}

IpAddress ip_at(std::string_view bytes, bool v6) {
  if (v6) {
    std::array<uint8_t, 16> raw;
    std::memcpy(raw.data(), bytes.data(), raw.size());
    return IpAddress::v6(raw);
  }
  uint32_t raw = 0;
  std::memcpy(&raw, bytes.data(), sizeof raw);
  return IpAddress::v4(raw);
}

// `bytes`: at least kV2Header, beginning with the signature.
Header parse_v2(std::string_view bytes) {
  constexpr uint8_t kLocal = 0x20, kProxy = 0x21;  // with the version
  constexpr uint8_t kInet = 1, kInet6 = 2, kStream = 1, kDatagram = 2;
  Header h(State::malformed, Version::v2);
  const uint8_t command = byte_at(bytes, kV2Signature), family = byte_at(bytes, kV2Signature + 1) >> 4,
                transport = byte_at(bytes, kV2Signature + 1) & 15;
  const size_t length = number_at(bytes, kV2Signature + 2);
  h.size = kV2Header + length;
  h.local = command == kLocal;
  if (h.local) {
    // A connection of the sender's own (a health check); what else it says is not to be looked at.
    h.state = bytes.size() < h.size ? State::need_more : State::present;
    return h;
  }
  if (command != kProxy || (family != kInet && family != kInet6) ||
      (transport != kStream && transport != kDatagram))
    return h;
  const bool v6 = family == kInet6;
  const size_t ip_size = v6 ? 16 : 4, addresses = 2 * ip_size + 4;
  if (length < addresses) return h;
  if (bytes.size() < h.size) {
    h.state = State::need_more;
    return h;
  }
  const std::string_view body = bytes.substr(kV2Header, length);
  h.source = Address(ip_at(body, v6), number_at(body, 2 * ip_size));
  h.destination = Address(ip_at(body.substr(ip_size), v6), number_at(body, 2 * ip_size + 2));
  h.tlvs = body.substr(addresses);
  if (each_tlv(h.tlvs, [](uint8_t, std::string_view) {})) h.state = State::present;
  return h.state == State::present ? finish(h) : h;
}

}  // namespace

bool could_be(Version version, std::string_view bytes) {
  const std::string_view signature = version == Version::v2 ? kSignatureV2 : kSignatureV1;
  return bytes.substr(0, signature.size()) == signature.substr(0, bytes.size());
}

Header parse(std::string_view bytes) {
  if (bytes.size() >= kV2Header) {
    if (could_be(Version::v2, bytes)) return parse_v2(bytes);
    if (!could_be(Version::v1, bytes)) return Header(State::absent);
  }
  // A line, as soon as there is its end. What begins with one could still be v2.
  const size_t end = bytes.starts_with("\r\n") ? bytes.npos : bytes.find("\r\n");
  if (end == bytes.npos) return Header(bytes.size() > kV1Max ? State::absent : State::need_more);
  if (end + 2 > kV1Max) return Header(State::malformed, Version::v1);
  return parse_v1(bytes.substr(0, end + 2));
}

}  // namespace sluice::extensions::proxy_protocol
