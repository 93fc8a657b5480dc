#include "core/spiffe.h"

#include <cerrno>

namespace sluice {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr size_t kMaxTrustDomain = 255, kMaxId = 2048;  // bytes, of the standard

bool all_of(std::string_view text, std::string_view more, bool upper) {
  for (char c : text) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (upper && c >= 'A' && c <= 'Z') ||
                    more.find(c) != std::string_view::npos;
    if (!ok) return false;
  }
  return true;
}

Error wrong(std::string_view id, const char* why) {
  return Error{"\"" + std::string(id.substr(0, 300)) + "\" is no SPIFFE ID: " + why +
                   "; it looks like spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT",
               EINVAL};
}

}  // namespace

std::string_view trust_domain_of(std::string_view id) {
  id.remove_prefix(kScheme.size());
  return id.substr(0, id.find('/'));
}

Status check_spiffe_id(std::string_view id) {
  if (!id.starts_with(kScheme)) return wrong(id, "it does not begin with spiffe://");
  if (id.size() > kMaxId) return wrong(id, "it has more than 2048 bytes");
  const std::string_view domain = trust_domain_of(id);
  if (domain.empty() || domain.size() > kMaxTrustDomain || !all_of(domain, ".-_", false))
    return wrong(id, "its trust domain must be 1 to 255 of a-z 0-9 . - _");
  std::string_view path = id.substr(kScheme.size() + domain.size());
  if (path.empty()) return wrong(id, "it names a trust domain and nobody in it");
  while (!path.empty()) {
    path.remove_prefix(1);  // '/'
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment.empty() || segment == "." || segment == "..")
      return wrong(id, "a part of its path is empty, . or ..");
    if (!all_of(segment, ".-_", true)) return wrong(id, "its path may hold letters, digits, . - _ alone");
    path.remove_prefix(segment.size());
  }
  return {};
}

}  // namespace sluice
