#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>

#include "core/ascii.h"
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
    if (is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~")) t[c] = to_lower(static_cast<char>(c));
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

// Copies n bytes; whether none of them is a control character other than the tab.
inline bool copy_value(char* to, const char* from, size_t n) {
#if defined(__SSE2__)
  const __m128i below = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
  auto controls = [&](__m128i x) {
    __m128i control = _mm_andnot_si128(_mm_cmpeq_epi8(x, tab), _mm_cmpeq_epi8(_mm_min_epu8(x, below), x));
    return _mm_or_si128(control, _mm_cmpeq_epi8(x, del));
  };
  if (n >= 16) {
    __m128i found = _mm_setzero_si128();
    size_t i = 0;
    auto step = [&](size_t at) {
      __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), x);
      found = _mm_or_si128(found, controls(x));
    };
    for (; i + 16 <= n; i += 16) step(i);
    if (i < n) step(n - 16);
    return _mm_movemask_epi8(found) == 0;
  }
  if (n >= 8) {  // two halves that overlap, in one register
    __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    __m128i high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + n - 8));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), low);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + n - 8), high);
    return _mm_movemask_epi8(controls(_mm_unpacklo_epi64(low, high))) == 0;
  }
#endif
  bool clean = true;
  for (size_t i = 0; i < n; ++i) {
    to[i] = from[i];
    clean &= !is_value_stop(from[i]);
  }
  return clean;
}

// The token characters at the front of [p, end), at most `max`, in lower case into `out`, which has room for 16 more.
// `underscore`: whether one of them is that.
inline size_t scan_name(const char* p, const char* end, char* out, size_t max, bool& underscore) {
  size_t i = 0;
  underscore = false;
#if defined(__SSE2__)
  auto between = [](__m128i x, char first, char last) {  // signed: what is above ASCII is below everything
    return _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8(static_cast<char>(first - 1))),
                         _mm_cmplt_epi8(x, _mm_set1_epi8(static_cast<char>(last + 1))));
  };
  // Letters, digits and "-": nearly every name there is. What else a token may have is for the table.
  while (static_cast<size_t>(end - p) >= i + 16 && i + 16 <= max) {
    __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
    x = _mm_or_si128(x, _mm_and_si128(between(x, 'A', 'Z'), _mm_set1_epi8(0x20)));
    __m128i good = _mm_or_si128(_mm_or_si128(between(x, 'a', 'z'), between(x, '0', '9')),
                                _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), x);
    if (int bits = _mm_movemask_epi8(good) ^ 0xffff) {
      i += static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(bits)));
      if (p[i] == ':') return i;
      break;
    }
    i += 16;
  }
#endif
  for (; i < max && p + i < end; ++i) {
    char c = token_lower(p[i]);
    if (!c) break;
    underscore |= c == '_';
    out[i] = c;
  }
  return i;
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
    if (to_lower(s[i]) != lower[i]) return false;
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
