#include "extensions/transport_sockets/tls/settings.h"

#include <algorithm>

namespace sluice::extensions::transport_tls {
namespace {

constexpr uint64_t mix(uint64_t seed, uint64_t value) {
  return (seed ^ value) * 0x9e3779b97f4a7c15ull + (seed >> 29);
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

constexpr uint32_t kDefaultDepth = 100;  // tls::Validation::max_verify_depth, where nobody says another

}  // namespace

uint64_t SecretSources::generation() const {
  uint64_t out = 0;
  for (const auto& c : certificates) out = mix(out, c.source->generation());
  if (validation.source) out = mix(out, validation.source->generation());
  if (tickets.source) out = mix(out, tickets.source->generation());
  return out;
}

// Envoy (ContextConfigImpl::isReady): one certificate of several is enough; the others may come later.
SecretSet SecretSources::current(uint64_t workload) const {
  SecretSet out;
  for (const auto& c : certificates)
    if (auto secret = c.source->current(workload)) out.certificates.push_back(std::move(secret));
  if (validation.source) out.validation = validation.source->current(workload);
  if (tickets.source) out.tickets = tickets.source->current(workload);
  out.complete = (certificates.empty() || !out.certificates.empty()) &&
                 !validation.source == !out.validation && !tickets.source == !out.tickets;
  return out;
}

std::shared_ptr<const tls::Validation> SecretSources::effective(
    const std::shared_ptr<const tls::Validation>& discovered) const {
  if (!validation_default || !discovered) return discovered;
  return std::make_shared<const tls::Validation>(merge(*validation_default, *discovered));
}

Status check_merged(const tls::Validation& v) {
  if (!v.trusted_ca.empty() || !v.trust_domains.empty()) return {};
  if (!v.crl.empty()) return Error{"Failed to load CRL from <inline> without trusted CA"};
  if (!v.sans.empty())
    return Error{
        "SAN-based verification of peer certificates without trusted CA is insecure and not allowed"};
  if (v.allow_expired) return Error{"Certificate validity period is always ignored without trusted CA"};
  return {};
}

tls::Validation merge(const tls::Validation& fallback, const tls::Validation& discovered) {
  tls::Validation out = fallback;
  if (!discovered.trusted_ca.empty()) {
    out.trusted_ca = discovered.trusted_ca;
    out.ca_name = discovered.ca_name;
  }
  if (!discovered.crl.empty()) out.crl = discovered.crl;
  append(out.certificate_hashes, discovered.certificate_hashes);
  append(out.spki_hashes, discovered.spki_hashes);
  append(out.sans, discovered.sans);
  out.allow_expired |= discovered.allow_expired;
  out.accept_untrusted |= discovered.accept_untrusted;
  out.only_verify_leaf_crl |= discovered.only_verify_leaf_crl;
  if (discovered.max_verify_depth != kDefaultDepth) out.max_verify_depth = discovered.max_verify_depth;
  if (!discovered.trust_domains.empty()) out.trust_domains = discovered.trust_domains;
  return out;
}

}  // namespace sluice::extensions::transport_tls
