#include "extensions/filters/listener/tls_inspector/fingerprint.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/digest.h"
#include "extensions/filters/listener/tls_inspector/reader.h"

namespace sluice::extensions::tls_inspector {
namespace {

constexpr uint16_t kServerName = 0, kGroups = 10, kPointFormats = 11, kSignatureAlgorithms = 13, kAlpn = 16,
                   kSupportedVersions = 43;
constexpr size_t kHashDigits = 12;

// 0x0a0a, 0x1a1a, ..., 0xfafa.
bool is_grease(uint16_t v) {
  return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

template <size_t Width>
std::vector<uint16_t> numbers(std::string_view bytes) {
  std::vector<uint16_t> out;
  uint16_t v = 0;
  for (Reader in(bytes); in.number<Width>(v);) out.push_back(v);
  return out;
}

std::vector<uint16_t> without_grease(std::vector<uint16_t> v) {
  std::erase_if(v, is_grease);
  return v;
}

std::vector<uint16_t> extension_types(const ClientHello& hello) {
  std::vector<uint16_t> out;
  uint16_t type = 0;
  std::string_view data;
  for (Reader in(hello.extensions); in.number<2>(type) && in.vector<2>(data);) out.push_back(type);
  return without_grease(std::move(out));
}

// The numbers of a list in an extension, without its length.
template <size_t LengthWidth, size_t Width>
std::vector<uint16_t> list_of(const ClientHello& hello, uint16_t type) {
  const auto data = hello.extension(type);
  return data && data->size() >= LengthWidth ? numbers<Width>(data->substr(LengthWidth))
                                             : std::vector<uint16_t>{};
}

void append_decimal(std::string& out, const std::vector<uint16_t>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out += '-';
    out += std::to_string(values[i]);
  }
}

void append_hex(std::string& out, const std::vector<uint16_t>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out += ',';
    for (int shift = 12; shift >= 0; shift -= 4) out += "0123456789abcdef"[values[i] >> shift & 15];
  }
}

std::string short_hash(std::string_view text) {
  return sha256_hex(text).substr(0, kHashDigits);
}

std::string two_digits(size_t n) {
  n = std::min<size_t>(n, 99);
  return {static_cast<char>('0' + n / 10), static_cast<char>('0' + n % 10)};
}

const char* version_name(uint16_t version) {
  switch (version) {
    case 0x0304:
      return "13";
    case 0x0303:
      return "12";
    case 0x0302:
      return "11";
    case 0x0301:
      return "10";
    default:
      return "00";
  }
}

// The highest that is offered.
const char* version_of(const ClientHello& hello) {
  if (const auto data = hello.extension(kSupportedVersions)) {
    std::string_view list;
    if (Reader in(*data); !in.vector<1>(list)) return "00";
    const auto offered = without_grease(numbers<2>(list));
    const auto highest = std::ranges::max_element(offered);
    if (highest != offered.end() && *highest != 0) return version_name(*highest);
  }
  return version_name(hello.version);
}

// The first and the last character of the first protocol; of others than letters and digits the outer hexadecimal digits.
std::string protocol_of(const ClientHello& hello) {
  const auto data = hello.extension(kAlpn);
  std::string_view name;
  if (!data || data->size() < 2) return "00";
  if (Reader in(data->substr(2)); !in.vector<1>(name) || name.empty()) return "00";
  auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  const char first = name.front(), last = name.back();
  if (plain(first) && plain(last)) return {first, last};
  constexpr std::string_view kDigits = "0123456789abcdef";
  return {kDigits[static_cast<uint8_t>(first) >> 4], kDigits[static_cast<uint8_t>(last) & 15]};
}

std::string cipher_hash(std::vector<uint16_t> ciphers) {
  if (ciphers.empty()) return std::string(kHashDigits, '0');
  std::ranges::sort(ciphers);
  std::string text;
  append_hex(text, ciphers);
  return short_hash(text);
}

// Sorted, so that a client which shuffles them is still known; the signature algorithms in the client's order.
std::string extension_hash(const ClientHello& hello, std::vector<uint16_t> types) {
  std::erase_if(types, [](uint16_t t) { return t == kServerName || t == kAlpn; });
  if (types.empty()) return std::string(kHashDigits, '0');
  std::ranges::sort(types);
  std::string text;
  append_hex(text, types);
  if (const auto algorithms = list_of<2, 2>(hello, kSignatureAlgorithms); !algorithms.empty()) {
    text += '_';
    append_hex(text, algorithms);
  }
  return short_hash(text);
}

}  // namespace

std::string ja3_text(const ClientHello& hello) {
  std::string text = std::to_string(hello.version) + ',';
  append_decimal(text, without_grease(numbers<2>(hello.ciphers)));
  text += ',';
  append_decimal(text, extension_types(hello));
  text += ',';
  append_decimal(text, list_of<2, 2>(hello, kGroups));
  text += ',';
  append_decimal(text, list_of<1, 1>(hello, kPointFormats));
  return text;
}

std::string ja3(const ClientHello& hello) {
  return md5_hex(ja3_text(hello));
}

std::string ja4(const ClientHello& hello) {
  auto ciphers = without_grease(numbers<2>(hello.ciphers));
  auto types = extension_types(hello);
  std::string out = "t";
  out += version_of(hello);
  out += hello.extension(kServerName) ? 'd' : 'i';
  out += two_digits(ciphers.size()) + two_digits(types.size()) + protocol_of(hello);
  out += '_' + cipher_hash(std::move(ciphers));
  out += '_' + extension_hash(hello, std::move(types));
  return out;
}

}  // namespace sluice::extensions::tls_inspector
