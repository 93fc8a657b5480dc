#include "proxy/upstream/transports.h"

#include "proxy/upstream/host.h"

namespace sluice::upstream {

Transports::Transports(const model::Cluster& config, const stats::Scope& scope, io::Loop& loop) {
  const ext::TransportScope made{.stats = scope, .loop = loop};
  if (config.transport) default_ = config.transport(made);
  matches_.reserve(config.transport_matches.size());
  for (const model::TransportMatch& m : config.transport_matches)
    matches_.push_back({&m.criteria, m.transport ? m.transport(made) : nullptr});
}

ext::UpstreamTransport* Transports::find(const model::LbMetadata* metadata) const {
  for (const Match& m : matches_)
    if (model::has_criteria(metadata, *m.criteria, false)) return m.transport.get();
  return default_.get();
}

ext::UpstreamTransport* Transports::of(const Host& host) const {
  return matches_.empty() ? default_.get() : find(host.description().transport_metadata.get());
}

void Transports::forget_workload(uint64_t workload) {
  if (default_) default_->forget_workload(workload);
  for (const Match& m : matches_)
    if (m.transport) m.transport->forget_workload(workload);
}

}  // namespace sluice::upstream
