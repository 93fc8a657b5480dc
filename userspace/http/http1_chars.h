#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Character classes of RFC 9110 section 5 and RFC 9112, and the scans over them.
namespace sluice::http::http1 {

namespace internal {
constexpr bool is_alnum(unsigned c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_one_of(unsigned c, std::string_view set) {
  return c < 128 && set.find(static_cast<char>(c)) != std::string_view::npos;
}
// A token character in lower case; 0 for what no token has.
constexpr std::array<char, 256> kLower = [] {
  std::array<char, 256> t{};
  for (unsigned c = 0; c < 256; ++c)
    if (is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~"))
      t[c] = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  return t;
}();
// uri-host [":" port] (RFC 3986 section 3.2): no user information.
constexpr std::array<bool, 256> kAuthority = [] {
  std::array<bool, 256> t{};
  for (unsigned c = 0; c < 256; ++c) t[c] = is_alnum(c) || is_one_of(c, "-._~%!$&'()*+,;=:[]");
  return t;
}();
constexpr std::array<int8_t, 256> kHex = [] {
  std::array<int8_t, 256> t{};
  for (unsigned c = 0; c < 256; ++c)
    t[c] = static_cast<int8_t>(c >= '0' && c <= '9'   ? c - '0'
                               : c >= 'a' && c <= 'f' ? c - 'a' + 10
                               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                      : -1);
  return t;
}();
}  // namespace internal

inline char token_lower(char c) {
  return internal::kLower[static_cast<unsigned char>(c)];
}
inline bool is_token_char(char c) {
  return token_lower(c) != 0;
}
inline int hex_value(char c) {
  return internal::kHex[static_cast<unsigned char>(c)];
}
// A control character that no field value may hold: all but the tab (RFC 9110 section 5.5).
inline bool is_value_stop(char c) {
  auto u = static_cast<unsigned char>(c);
  return (u < 0x20 && u != '\t') || u == 0x7f;
}
inline bool is_authority(std::string_view s) {
  for (char c : s)
    if (!internal::kAuthority[static_cast<unsigned char>(c)]) return false;
  return true;
}

// The first control character (the tab is none) in [p, end), or end.
inline const char* find_value_stop(const char* p, const char* end) {
#if defined(__SSE2__)
  const __m128i below = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
  for (; end - p >= 16; p += 16) {
    __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    __m128i control = _mm_andnot_si128(_mm_cmpeq_epi8(x, tab), _mm_cmpeq_epi8(_mm_min_epu8(x, below), x));
    if (int bits = _mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(x, del))))
      return p + __builtin_ctz(static_cast<unsigned>(bits));
  }
#endif
  while (p < end && !is_value_stop(*p)) ++p;
  return p;
}

// The first byte in [p, end) that no request target has (RFC 9112 section 3.2: visible ASCII alone), or end.
inline const char* find_target_stop(const char* p, const char* end) {
#if defined(__SSE2__)
  const __m128i low = _mm_set1_epi8(static_cast<char>(0x21)),
                limit = _mm_set1_epi8(static_cast<char>(0x7e - 0x21));
  for (; end - p >= 16; p += 16) {
    __m128i x = _mm_sub_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), low);
    __m128i good = _mm_cmpeq_epi8(_mm_min_epu8(x, limit), x);
    if (int bits = _mm_movemask_epi8(good) ^ 0xffff) return p + __builtin_ctz(static_cast<unsigned>(bits));
  }
#endif
  while (p < end && static_cast<unsigned char>(*p - 0x21) <= 0x7e - 0x21) ++p;
  return p;
}

inline std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// ASCII only; `lower` is in lower case.
inline bool equals_ignoring_case(std::string_view s, std::string_view lower) {
  if (s.size() != lower.size()) return false;
  for (size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    if (c != lower[i]) return false;
  }
  return true;
}

// Calls `visit` with each element of a comma-separated list, white space off, empty ones left out.
template <typename Visit>
void for_each_element(std::string_view list, Visit visit) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view element = trim(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    if (!element.empty()) visit(element);
  }
}

}  // namespace sluice::http::http1
