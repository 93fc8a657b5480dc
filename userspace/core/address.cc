#include "core/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstddef>

namespace sluice {

IpAddress IpAddress::v4(uint32_t be) {
  IpAddress ip;
  ip.family_ = AF_INET;
  std::memcpy(ip.bytes_.data(), &be, 4);
  return ip;
}

IpAddress IpAddress::v6(const std::array<uint8_t, 16>& bytes) {
  IpAddress ip;
  ip.family_ = AF_INET6;
  ip.bytes_ = bytes;
  return ip;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  char buf[INET6_ADDRSTRLEN];
  if (text.size() < sizeof buf) {
    std::memcpy(buf, text.data(), text.size());
    buf[text.size()] = 0;
    IpAddress ip;
    ip.family_ = text.find(':') == text.npos ? AF_INET : AF_INET6;
    if (inet_pton(ip.family_, buf, ip.bytes_.data()) == 1) return ip;
  }
  return Error{"malformed IP address: " + std::string(text)};
}

bool IpAddress::is_any() const {
  return family_ != AF_UNSPEC && bytes_ == std::array<uint8_t, 16>{};
}

bool IpAddress::is_loopback() const {
  IpAddress ip = unmapped();
  if (ip.is_v4()) return ip.bytes_[0] == 127;
  static constexpr std::array<uint8_t, 16> kOne = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return ip.is_v6() && ip.bytes_ == kOne;
}

IpAddress IpAddress::unmapped() const {
  static constexpr uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!is_v6() || std::memcmp(bytes_.data(), kPrefix, sizeof kPrefix) != 0) return *this;
  uint32_t be;
  std::memcpy(&be, bytes_.data() + 12, 4);
  return v4(be);
}

uint32_t IpAddress::v4_be() const {
  assert(is_v4());
  uint32_t be;
  std::memcpy(&be, bytes_.data(), 4);
  return be;
}

std::string IpAddress::to_string() const {
  char buf[INET6_ADDRSTRLEN];
  if (family_ == AF_UNSPEC || !inet_ntop(family_, bytes_.data(), buf, sizeof buf)) return "";
  return buf;
}

Address::Address(IpAddress ip, uint16_t port) {
  if (ip.is_v4()) {
    storage_.in4 = {};
    storage_.in4.sin_family = AF_INET;
    storage_.in4.sin_port = htons(port);
    storage_.in4.sin_addr.s_addr = ip.v4_be();
    len_ = sizeof(sockaddr_in);
  } else if (ip.is_v6()) {
    storage_.in6 = {};
    storage_.in6.sin6_family = AF_INET6;
    storage_.in6.sin6_port = htons(port);
    std::memcpy(&storage_.in6.sin6_addr, ip.bytes().data(), 16);
    len_ = sizeof(sockaddr_in6);
  }
}

Result<Address> Address::pipe(std::string_view path) {
  Address a;
  if (path.empty()) return Error{"a Unix socket needs a path"};
  if (path.size() >= sizeof a.storage_.un.sun_path)
    return Error{"Unix socket path exceeds " + std::to_string(sizeof a.storage_.un.sun_path - 1) +
                 " bytes: " + std::string(path)};
  a.storage_.un = {};
  a.storage_.un.sun_family = AF_UNIX;
  std::memcpy(a.storage_.un.sun_path, path.data(), path.size());
  if (path[0] == '@') {
    a.storage_.un.sun_path[0] = 0;
    a.len_ = offsetof(sockaddr_un, sun_path) + path.size();
  } else {
    a.len_ = offsetof(sockaddr_un, sun_path) + path.size() + 1;
  }
  return a;
}

Address Address::from_sockaddr(const sockaddr* sa, socklen_t len) {
  Address a;
  if (sa->sa_family == AF_INET) {
    a.storage_.in4 = {};
    std::memcpy(&a.storage_.in4, sa, sizeof(sockaddr_in));
    std::memset(a.storage_.in4.sin_zero, 0, sizeof a.storage_.in4.sin_zero);
    a.len_ = sizeof(sockaddr_in);
  } else if (sa->sa_family == AF_INET6) {
    std::memcpy(&a.storage_.in6, sa, sizeof(sockaddr_in6));
    a.storage_.in6.sin6_flowinfo = 0;
    a.len_ = sizeof(sockaddr_in6);
  } else if (sa->sa_family == AF_UNIX && len <= sizeof(sockaddr_un)) {
    std::memcpy(&a.storage_.un, sa, len);
    a.len_ = len;
  }
  return a;
}

Result<Address> Address::parse(std::string_view text) {
  auto bad = [&] {
    return Error{"malformed address: " + std::string(text) + " (expected IP:PORT or [IPV6]:PORT)"};
  };
  size_t colon = text.rfind(':');
  if (colon == text.npos) return bad();
  std::string_view host = text.substr(0, colon), port_text = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != host.npos)
    return bad();
  uint16_t port = 0;
  auto [end, ec] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (ec != std::errc() || end != port_text.data() + port_text.size()) return bad();
  auto ip = IpAddress::parse(host);
  if (!ip) return bad();
  return Address(*ip, port);
}

IpAddress Address::ip() const {
  if (family() == AF_INET) return IpAddress::v4(storage_.in4.sin_addr.s_addr);
  if (family() == AF_INET6) {
    std::array<uint8_t, 16> b;
    std::memcpy(b.data(), &storage_.in6.sin6_addr, 16);
    return IpAddress::v6(b);
  }
  return {};
}

uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(storage_.in4.sin_port);
  if (family() == AF_INET6) return ntohs(storage_.in6.sin6_port);
  return 0;
}

std::string Address::path() const {
  if (!is_pipe() || len_ <= offsetof(sockaddr_un, sun_path)) return "";
  size_t n = len_ - offsetof(sockaddr_un, sun_path);
  if (storage_.un.sun_path[0] == 0) return "@" + std::string(storage_.un.sun_path + 1, n - 1);
  return std::string(storage_.un.sun_path, strnlen(storage_.un.sun_path, n));
}

Address Address::with_port(uint16_t port) const {
  return Address(ip(), port);
}

Address Address::unmapped() const {
  if (family() != AF_INET6) return *this;
  IpAddress folded = ip().unmapped();
  return folded.is_v4() ? Address(folded, port()) : *this;
}

std::string Address::to_string() const {
  if (is_pipe()) return path();
  if (family() == AF_INET) return ip().to_string() + ":" + std::to_string(port());
  if (family() == AF_INET6) return "[" + ip().to_string() + "]:" + std::to_string(port());
  return "";
}

size_t Address::hash() const {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&storage_), len_});
}

Result<Cidr> Cidr::make(IpAddress ip, unsigned prefix_len) {
  unsigned bits = ip.is_v4() ? 32 : 128;
  if (ip.family() == AF_UNSPEC || prefix_len > bits)
    return Error{"prefix length " + std::to_string(prefix_len) + " does not fit address " + ip.to_string()};
  std::array<uint8_t, 16> b = ip.bytes();
  for (unsigned i = 0; i < 16; ++i) {
    unsigned keep = prefix_len > i * 8 ? std::min(8u, prefix_len - i * 8) : 0;
    b[i] &= static_cast<uint8_t>(0xff00u >> keep);
  }
  Cidr c;
  if (ip.is_v4()) {
    uint32_t be;
    std::memcpy(&be, b.data(), 4);
    c.ip_ = IpAddress::v4(be);
  } else {
    c.ip_ = IpAddress::v6(b);
  }
  c.prefix_len_ = prefix_len;
  return c;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  size_t slash = text.find('/');
  SLUICE_ASSIGN(IpAddress ip, IpAddress::parse(text.substr(0, slash)));
  unsigned len = ip.is_v4() ? 32 : 128;
  if (slash != text.npos) {
    std::string_view n = text.substr(slash + 1);
    auto [end, ec] = std::from_chars(n.data(), n.data() + n.size(), len);
    if (ec != std::errc() || end != n.data() + n.size() || n.empty())
      return Error{"malformed prefix length in " + std::string(text)};
  }
  return make(ip, len);
}

bool Cidr::contains(const IpAddress& address) const {
  IpAddress ip = ip_.is_v4() ? address.unmapped() : address;
  if (ip.family() != ip_.family()) return false;
  unsigned whole = prefix_len_ / 8, rest = prefix_len_ % 8;
  if (std::memcmp(ip.bytes().data(), ip_.bytes().data(), whole) != 0) return false;
  return rest == 0 || ((ip.bytes()[whole] ^ ip_.bytes()[whole]) & static_cast<uint8_t>(0xff00u >> rest)) == 0;
}

std::string Cidr::to_string() const {
  return ip_.to_string() + "/" + std::to_string(prefix_len_);
}

}  // namespace sluice
