#include "model/request_hash.h"

#include <algorithm>
#include <bit>

#include "core/xxhash.h"
#include "model/route.h"

namespace sluice::model {
namespace {

using http::Name;

// All values, sorted, so that their order does not count.
std::optional<uint64_t> hash_header(const HashPolicy& policy, const http::HeaderMap& request) {
  std::vector<std::string_view> values;
  std::vector<std::string> rewritten;
  for (const auto& field : request)
    if (field.name == policy.name) values.push_back(field.value);
  if (values.empty()) return {};
  if (policy.regex) {
    rewritten.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      policy.regex->replace_all(values[i], policy.substitution, rewritten[i]);
      values[i] = rewritten[i];
    }
  }
  std::sort(values.begin(), values.end());
  XxHash64 hash;
  for (std::string_view v : values) hash.update(v);
  return hash.digest();
}

std::optional<uint64_t> hash_cookie(const HashPolicy& policy, const http::HeaderMap& request,
                                    const MakeCookie& make_cookie) {
  const std::string_view value = cookie_value(request, policy.name);
  if (!value.empty()) return xxhash64(value);
  if (!policy.cookie_ttl || !make_cookie) return {};
  return xxhash64(make_cookie(policy));
}

std::optional<uint64_t> hash_source_ip(const ext::StreamInfo& info) {
  if (!info.downstream_remote.is_ip()) return {};
  return xxhash64(info.downstream_remote.ip().to_string());
}

std::optional<uint64_t> hash_query_parameter(const HashPolicy& policy, const http::HeaderMap& request) {
  const std::string_view path = request.get(Name::path);
  const size_t mark = path.find('?');
  if (mark == std::string_view::npos) return {};
  const auto value = query_parameter(path.substr(mark + 1), policy.name);
  if (!value) return {};
  return xxhash64(*value);
}

std::optional<uint64_t> hash_of(const HashPolicy& policy, const http::HeaderMap& request,
                                const ext::StreamInfo& info, const MakeCookie& make_cookie) {
  switch (policy.kind) {
    case HashPolicy::Kind::header:
      return hash_header(policy, request);
    case HashPolicy::Kind::cookie:
      return hash_cookie(policy, request, make_cookie);
    case HashPolicy::Kind::source_ip:
      return hash_source_ip(info);
    case HashPolicy::Kind::query_parameter:
      return hash_query_parameter(policy, request);
  }
  return {};
}

// "name=value" of one cookie field; data() == nullptr: it is not there.
std::string_view find_cookie(std::string_view field, std::string_view name) {
  while (!field.empty()) {
    const size_t end = std::min(field.find(';'), field.size());
    std::string_view pair = field.substr(0, end);
    field.remove_prefix(std::min(end + 1, field.size()));
    pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
    pair.remove_prefix(equals + 1);
    if (pair.size() >= 2 && pair.front() == '"' && pair.back() == '"') pair = pair.substr(1, pair.size() - 2);
    return pair;
  }
  return {};
}

}  // namespace

std::string_view cookie_value(const http::HeaderMap& request, std::string_view name) {
  for (const auto& field : request) {
    if (field.id != Name::cookie) continue;
    if (const auto value = find_cookie(field.value, name); value.data() != nullptr) return value;
  }
  return "";
}

std::optional<uint64_t> request_hash(const std::vector<HashPolicy>& policies, const http::HeaderMap& request,
                                     const ext::StreamInfo& info, const MakeCookie& make_cookie) {
  std::optional<uint64_t> out;
  for (const HashPolicy& policy : policies) {
    // The older hash is turned, so that two equal ones do not cancel each other out.
    if (const auto hash = hash_of(policy, request, info, make_cookie))
      out = (out ? std::rotl(*out, 1) : 0) ^ *hash;
    if (policy.terminal && out) break;
  }
  return out;
}

std::string made_cookie_value(const ext::StreamInfo& info) {
  constexpr char kDigits[] = "0123456789abcdef";
  const uint64_t hash = xxhash64(info.downstream_remote.to_string() + info.downstream_local.to_string());
  std::string out(16, '0');
  for (size_t i = 0; i < 16; ++i) out[i] = kDigits[hash >> (60 - 4 * i) & 15];
  return out;
}

std::string set_cookie(const HashPolicy& policy, std::string_view value) {
  std::string out = policy.name + "=\"";
  out += value;
  out += '"';
  const auto ttl = std::chrono::duration_cast<std::chrono::seconds>(policy.cookie_ttl.value_or(Duration{}));
  if (ttl.count() != 0) out += "; Max-Age=" + std::to_string(ttl.count());
  if (!policy.cookie_path.empty()) out += "; Path=" + policy.cookie_path;
  for (const auto& [name, text] : policy.cookie_attributes) {
    out += "; " + name;
    if (!text.empty()) out += '=' + text;
  }
  return out + "; HttpOnly";
}

}  // namespace sluice::model
