#include "extensions/transport_sockets/tls/factory_stats.h"

#include <algorithm>

#include "tls/check.h"

namespace sluice::extensions::transport_tls {
namespace {

using stats::Kind;

// Envoy has all three on both sides.
const stats::Layout& layout() {
  static const auto& l = *new stats::Layout({
      {"ssl_context_update_by_sds", Kind::counter},
      {"downstream_context_secrets_not_ready", Kind::counter},
      {"upstream_context_secrets_not_ready", Kind::counter},
  });
  return l;
}

constexpr unsigned kFirstWorker = 1;  // slot 0 is the control thread's

uint64_t seconds(WallTime t) {
  const auto s = std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
  return s > 0 ? static_cast<uint64_t>(s) : 0;
}

}  // namespace

FactoryStats::FactoryStats(const stats::Scope& scope, std::string_view side, const SecretSources& sources)
    : FactoryStats(scope, scope.scope(side).block(layout()), sources) {}

FactoryStats::FactoryStats(const stats::Scope& scope, const stats::Block& block, const SecretSources& sources)
    : downstream_not_ready(block.counter("downstream_context_secrets_not_ready")),
      upstream_not_ready(block.counter("upstream_context_secrets_not_ready")),
      speaks_(scope.slot() == kFirstWorker),
      sources_(sources),
      certificates_(scope.scope("ssl").scope("certificate")),
      updates_(block.counter("ssl_context_update_by_sds")) {
  if (!speaks_) return;
  // Shown before anybody connects, as far as it is known.
  const SecretSet own = sources.current(0);
  const auto validation = sources.effective(own.validation);
  on_context(0, own, validation.get());
}

void FactoryStats::on_rotation() {
  if (!speaks_) return;
  size_t at = 0;
  auto look = [&](const auto& named) {
    if (!named.source || !named.discovered) return;
    if (at == seen_.size()) seen_.push_back(0);
    const uint64_t now = named.source->generation();
    if (std::exchange(seen_[at++], now) != now) updates_.add();
  };
  for (const auto& c : sources_.certificates) look(c);
  look(sources_.validation);
  look(sources_.tickets);
}

void FactoryStats::on_context(uint64_t workload, const SecretSet& secrets,
                              const tls::Validation* validation) {
  if (!speaks_) return;
  auto note = [&](const std::string& name, const auto& summaries) {
    if (!summaries.ok() || summaries->empty()) return;
    expirations_[name][workload] = seconds(summaries->front().not_after);
    show(name);
  };
  // Where one of several is missing nobody knows whose the others are.
  if (secrets.certificates.size() == sources_.certificates.size())
    for (size_t i = 0; i < secrets.certificates.size(); ++i)
      note(sources_.certificates[i].name, tls::summarize(*secrets.certificates[i]));
  if (validation && !validation->trusted_ca.empty())
    note(sources_.validation.name, tls::summarize(validation->trusted_ca));
}

void FactoryStats::on_forgotten(uint64_t workload) {
  for (auto& [name, by_workload] : expirations_)
    if (by_workload.erase(workload) > 0) show(name);
}

void FactoryStats::show(const std::string& name) {
  const auto& by_workload = expirations_[name];
  const auto first = std::ranges::min_element(by_workload, {}, [](const auto& e) { return e.second; });
  if (first != by_workload.end())
    certificates_.scope(name).gauge("expiration_unix_time_seconds").set(first->second);
}

}  // namespace sluice::extensions::transport_tls
