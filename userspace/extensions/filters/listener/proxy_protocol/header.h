#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/address.h"

namespace sluice::extensions::proxy_protocol {

enum class Version : uint8_t { none, v1, v2 };

// What stands at the front of a connection by HAProxy's PROXY protocol.
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
struct Header {
  enum class State : uint8_t {
    need_more,
    absent,     // no header, and none can follow
    malformed,  // one of `version`, which is broken or of a kind that is not supported
    present,
  };
  explicit Header(State s = State::need_more, Version v = Version::none) : state(s), version(v) {}
  State state;
  Version version;
  bool local = false;  // LOCAL or UNKNOWN: the connection's own addresses hold
  Address source, destination;  // unless local
  size_t size =
      0;  // of the header with all that belongs to it; known from its first 16 bytes (v2) or its end (v1)
  std::string_view tlvs;  // type, length, value, and so on; well-formed unless local
};

inline constexpr size_t kV1Max = 108;  // Envoy's limit of a line; the protocol's is 107
inline constexpr size_t kV2Header = 16;
inline constexpr size_t kV2Signature = 12;

// `bytes`: the front of the connection. Takes and refuses what Envoy does: no Unix addresses, no UNSPEC, and none that
// cannot be one end of a TCP connection (multicast, broadcast, any).
Header parse(std::string_view bytes);

// Could the bytes be the beginning of a header of this version?
bool could_be(Version version, std::string_view bytes);

// Calls f(type, value) for each entry of well-formed `tlvs`. False: they are not, and where they stop being so f has been
// called for those before.
template <typename F>
bool each_tlv(std::string_view tlvs, F f) {
  while (!tlvs.empty()) {
    if (tlvs.size() < 3) return false;
    const size_t size =
        static_cast<size_t>(static_cast<uint8_t>(tlvs[1])) << 8 | static_cast<uint8_t>(tlvs[2]);
    if (tlvs.size() - 3 < size) return false;
    f(static_cast<uint8_t>(tlvs[0]), tlvs.substr(3, size));
    tlvs.remove_prefix(3 + size);
  }
  return true;
}

}  // namespace sluice::extensions::proxy_protocol
