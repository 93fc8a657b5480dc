#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/result.h"

namespace sluice {

// An IPv4 or IPv6 address without a port. v4-mapped IPv6 addresses are kept as such; `unmapped()` folds them.
class IpAddress {
 public:
  IpAddress() = default;
  static IpAddress v4(uint32_t be);  // network byte order
  static IpAddress v6(const std::array<uint8_t, 16>& bytes);
  static Result<IpAddress> parse(std::string_view text);  // "10.0.0.1", "::1"; no brackets, no zone

  int family() const { return family_; }  // AF_INET, AF_INET6 or AF_UNSPEC
  bool is_v4() const { return family_ == AF_INET; }
  bool is_v6() const { return family_ == AF_INET6; }
  bool is_any() const;
  bool is_loopback() const;
  IpAddress unmapped() const;  // ::ffff:a.b.c.d → a.b.c.d
  uint32_t v4_be() const;  // only for AF_INET
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }  // 4 used for AF_INET
  std::string to_string() const;

  friend bool operator==(const IpAddress&, const IpAddress&) = default;

 private:
  sa_family_t family_ = AF_UNSPEC;
  std::array<uint8_t, 16> bytes_{};
};

// A socket address: IP and port, or a Unix socket's path ("@name" is the abstract namespace).
class Address {
 public:
  Address() = default;
  Address(IpAddress ip, uint16_t port);
  static Result<Address> pipe(std::string_view path);
  static Address from_sockaddr(const sockaddr* sa, socklen_t len);
  static Result<Address> parse(std::string_view text);  // "1.2.3.4:80", "[::1]:80"

  bool valid() const { return len_ != 0; }
  int family() const { return valid() ? storage_.ss_family : AF_UNSPEC; }
  bool is_ip() const { return family() == AF_INET || family() == AF_INET6; }
  bool is_pipe() const { return family() == AF_UNIX; }
  IpAddress ip() const;  // AF_UNSPEC unless is_ip()
  uint16_t port() const;  // host order; 0 unless is_ip()
  std::string path() const;
  Address with_port(uint16_t port) const;
  Address unmapped() const;

  const sockaddr* sockaddr_ptr() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  sockaddr* sockaddr_ptr() { return reinterpret_cast<sockaddr*>(&storage_); }
  socklen_t len() const { return len_; }
  // For calls that fill an address in: capacity, then set_len() with what the kernel returned.
  static constexpr socklen_t capacity() { return sizeof(sockaddr_un); }
  void set_len(socklen_t len) { len_ = len; }

  std::string to_string() const;  // "1.2.3.4:80", "[::1]:80", "/run/x.sock"
  size_t hash() const;
  friend bool operator==(const Address& a, const Address& b) {
    return a.len_ == b.len_ && std::memcmp(&a.storage_, &b.storage_, a.len_) == 0;
  }

 private:
  // sockaddr_un is the largest kind kept here (110 bytes; sockaddr_storage would be 128).
  union Storage {
    sa_family_t ss_family;
    sockaddr_in in4;
    sockaddr_in6 in6;
    sockaddr_un un;
  };
  Storage storage_ = {.ss_family = AF_UNSPEC};
  socklen_t len_ = 0;
};

// An address prefix, as in Envoy's CidrRange. Matching folds v4-mapped addresses.
class Cidr {
 public:
  Cidr() = default;
  static Result<Cidr> make(IpAddress ip, unsigned prefix_len);  // host bits are cleared
  static Result<Cidr> parse(std::string_view text);  // "10.0.0.0/8"
  bool contains(const IpAddress& ip) const;
  const IpAddress& address() const { return ip_; }
  unsigned prefix_len() const { return prefix_len_; }
  std::string to_string() const;
  friend bool operator==(const Cidr&, const Cidr&) = default;

 private:
  IpAddress ip_;
  unsigned prefix_len_ = 0;
};

}  // namespace sluice

template <>
struct std::hash<sluice::Address> {
  size_t operator()(const sluice::Address& a) const { return a.hash(); }
};
