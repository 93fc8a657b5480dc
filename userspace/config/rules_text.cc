// Rules of strings and bytes.
#include <arpa/inet.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "config/rules.h"
#include "core/regex.h"

namespace sluice::config::rules {
namespace {

// Patterns are few and come from the API: compiled once, kept for good.
const Result<Regex>& compiled(const std::string& pattern) {
  static std::mutex mutex;
  static auto& cache = *new std::unordered_map<std::string, Result<Regex>>;
  std::lock_guard lock(mutex);
  if (const auto found = cache.find(pattern); found != cache.end()) return found->second;
  return cache.emplace(pattern, Regex::compile(pattern)).first->second;
}

// For patterns of this file.
bool full_match(const std::string& text, const char* pattern) {
  return compiled(pattern)->full_match(text);
}

uint64_t code_points(std::string_view text) {
  return static_cast<uint64_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool is_ip(const std::string& text, int family) {
  unsigned char out[16];
  return ::inet_pton(family, text.c_str(), out) == 1;
}
bool is_ip(const std::string& text) {
  return is_ip(text, AF_INET) || is_ip(text, AF_INET6);
}

// RFC 1034, as protoc-gen-validate has it.
bool is_hostname(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    const size_t dot = text.find('.');
    const std::string_view label = text.substr(0, dot);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    for (char c : label)
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_email(std::string_view text) {
  const size_t at = text.rfind('@');
  return at != std::string_view::npos && at > 0 && at <= 64 && text.size() <= 254 &&
         text.find_first_of(" \t\r\n<>") == std::string_view::npos && is_hostname(text.substr(at + 1));
}

bool is_uri_reference(const std::string& text) {
  return full_match(text, R"((?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)");
}
bool is_uri(const std::string& text) {
  return full_match(text, R"([A-Za-z][A-Za-z0-9+.\-]*:.+)") && is_uri_reference(text);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  out += text;
  return out + "\"";
}

template <typename List>
std::string list_text(const List& list) {
  std::string out = "[";
  for (const auto& item : list) out += (out.size() > 1 ? ", " : "") + quoted(item);
  return out + "]";
}

template <typename List>
bool contains(const List& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

std::string length_text(const char* unit, uint64_t min, uint64_t max, bool has_min, bool has_max) {
  if (has_min && has_max)
    return "value length must be between " + std::to_string(min) + " and " + std::to_string(max) + " " +
           unit + ", inclusive";
  return std::string("value length must be at ") + (has_min ? "least " : "most ") +
         std::to_string(has_min ? min : max) + " " + unit;
}

// HTTP_HEADER_NAME and HTTP_HEADER_VALUE (RFC 7230; not strict: only what would split a header is refused).
std::string check_known_regex(const validate::StringRules& rules, const std::string& value) {
  static const char* const kName = "^:?[0-9a-zA-Z!#$%&'*+-.^_|~`]+$";
  static const char* const kValue = "^[^\\x00-\\x08\\x0A-\\x1F\\x7F]*$";
  static const char* const kLoose = "^[^\\x00\\n\\r]*$";
  const bool strict = !rules.has_strict() || rules.strict();
  const char* pattern = nullptr;
  if (rules.well_known_regex() == validate::HTTP_HEADER_NAME) {
    pattern = strict ? kName : kLoose;
  } else if (rules.well_known_regex() == validate::HTTP_HEADER_VALUE) {
    pattern = strict ? kValue : kLoose;
  }
  if (pattern == nullptr || full_match(value, pattern)) return "";
  return "value does not match regex pattern " + quoted(pattern) + " (an HTTP header " +
         (rules.well_known_regex() == validate::HTTP_HEADER_NAME ? "name" : "value") + ")";
}

std::string check_form(const validate::StringRules& rules, const std::string& value) {
  using R = validate::StringRules;
  switch (rules.well_known_case()) {
    case R::kEmail:
      return rules.email() && !is_email(value) ? "value must be a valid email address" : "";
    case R::kHostname:
      return rules.hostname() && !is_hostname(value) ? "value must be a valid hostname" : "";
    case R::kIp:
      return rules.ip() && !is_ip(value) ? "value must be a valid IP address" : "";
    case R::kIpv4:
      return rules.ipv4() && !is_ip(value, AF_INET) ? "value must be a valid IPv4 address" : "";
    case R::kIpv6:
      return rules.ipv6() && !is_ip(value, AF_INET6) ? "value must be a valid IPv6 address" : "";
    case R::kUri:
      return rules.uri() && !is_uri(value) ? "value must be a valid absolute URI" : "";
    case R::kUriRef:
      return rules.uri_ref() && !is_uri_reference(value) ? "value must be a valid URI" : "";
    case R::kAddress:
      return rules.address() && !is_hostname(value) && !is_ip(value)
                 ? "value must be a valid hostname, or IP address"
                 : "";
    case R::kUuid: {
      static const char* const kUuid = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
      return rules.uuid() && !full_match(value, kUuid) ? "value must be a valid UUID" : "";
    }
    case R::kWellKnownRegex:
      return check_known_regex(rules, value);
    case R::WELL_KNOWN_NOT_SET:
      break;
  }
  return "";
}

// What strings and bytes have in common.
template <typename Rules>
std::string check_content(const Rules& rules, const std::string& value) {
  if (rules.has_const_() && value != rules.const_()) return "value must equal " + quoted(rules.const_());
  if (rules.has_pattern()) {
    const auto& pattern = compiled(rules.pattern());
    if (!pattern.ok() || !pattern->partial_match(value))
      return "value does not match regex pattern " + quoted(rules.pattern());
  }
  if (rules.has_prefix() && !value.starts_with(rules.prefix()))
    return "value does not have prefix " + quoted(rules.prefix());
  if (rules.has_suffix() && !value.ends_with(rules.suffix()))
    return "value does not have suffix " + quoted(rules.suffix());
  if (rules.has_contains() && value.find(rules.contains()) == std::string::npos)
    return "value does not contain substring " + quoted(rules.contains());
  if (rules.in_size() > 0 && !contains(rules.in(), value))
    return "value must be in list " + list_text(rules.in());
  if (rules.not_in_size() > 0 && contains(rules.not_in(), value))
    return "value must not be in list " + list_text(rules.not_in());
  return "";
}

}  // namespace

std::string check_string(const validate::StringRules& rules, const std::string& value) {
  if (rules.ignore_empty() && value.empty()) return "";
  const uint64_t chars = code_points(value), bytes = value.size();
  if (rules.has_len() && chars != rules.len())
    return "value length must be " + std::to_string(rules.len()) + " characters";
  if (rules.has_len_bytes() && bytes != rules.len_bytes())
    return "value length must be " + std::to_string(rules.len_bytes()) + " bytes";
  if ((rules.has_min_len() && chars < rules.min_len()) || (rules.has_max_len() && chars > rules.max_len()))
    return length_text("characters", rules.min_len(), rules.max_len(), rules.has_min_len(),
                       rules.has_max_len());
  if ((rules.has_min_bytes() && bytes < rules.min_bytes()) ||
      (rules.has_max_bytes() && bytes > rules.max_bytes()))
    return length_text("bytes", rules.min_bytes(), rules.max_bytes(), rules.has_min_bytes(),
                       rules.has_max_bytes());
  if (std::string wrong = check_content(rules, value); !wrong.empty()) return wrong;
  if (rules.has_not_contains() && value.find(rules.not_contains()) != std::string::npos)
    return "value contains substring " + quoted(rules.not_contains());
  return check_form(rules, value);
}

std::string check_bytes(const validate::BytesRules& rules, const std::string& value) {
  if (rules.ignore_empty() && value.empty()) return "";
  const uint64_t bytes = value.size();
  if (rules.has_len() && bytes != rules.len())
    return "value length must be " + std::to_string(rules.len()) + " bytes";
  if ((rules.has_min_len() && bytes < rules.min_len()) || (rules.has_max_len() && bytes > rules.max_len()))
    return length_text("bytes", rules.min_len(), rules.max_len(), rules.has_min_len(), rules.has_max_len());
  if (std::string wrong = check_content(rules, value); !wrong.empty()) return wrong;
  const bool v4 = bytes == 4, v6 = bytes == 16;
  if (rules.ip() && !v4 && !v6) return "value must be a valid IP address";
  if (rules.ipv4() && !v4) return "value must be a valid IPv4 address";
  if (rules.ipv6() && !v6) return "value must be a valid IPv6 address";
  return "";
}

}  // namespace sluice::config::rules
