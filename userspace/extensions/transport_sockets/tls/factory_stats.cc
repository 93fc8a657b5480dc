#include "extensions/transport_sockets/tls/factory_stats.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

#include "io/loop.h"
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

// A secret was replaced: the which-th that is discovered, for that workload.
struct FactoryStats::Change {
  size_t which;
  uint64_t workload;
};

// From the threads that replace secrets to the one that counts.
struct FactoryStats::Inbox {
  std::mutex mutex;
  io::Loop* loop;  // null: the reader has gone
  FactoryStats* reader;
  std::vector<Change> changes;

  static void put(const std::shared_ptr<Inbox>& to, Change change) {
    std::lock_guard lock(to->mutex);
    if (!to->loop) return;
    to->changes.push_back(change);
    if (to->changes.size() > 1) return;  // it is on its way
    to->loop->post([to] {
      std::unique_lock reading(to->mutex);
      if (!to->reader) return;
      const auto changes = std::exchange(to->changes, {});
      reading.unlock();  // it goes on this thread, if it goes
      to->reader->take(changes);
    });
  }
};

class FactoryStats::Observer final : public model::SecretObserver {
 public:
  Observer(std::shared_ptr<Inbox> inbox, size_t which) : inbox_(std::move(inbox)), which_(which) {}
  void on_change(uint64_t workload) override { Inbox::put(inbox_, {which_, workload}); }

 private:
  const std::shared_ptr<Inbox> inbox_;
  const size_t which_;
};

FactoryStats::FactoryStats(const ext::TransportScope& scope, std::string_view side,
                           const SecretSources& sources)
    : FactoryStats(scope, scope.stats.scope(side).block(layout()), sources) {}

FactoryStats::FactoryStats(const ext::TransportScope& scope, const stats::Block& block,
                           const SecretSources& sources)
    : downstream_not_ready(block.counter("downstream_context_secrets_not_ready")),
      upstream_not_ready(block.counter("upstream_context_secrets_not_ready")),
      speaks_(scope.stats.slot() == kFirstWorker),
      sources_(sources),
      certificates_(scope.stats.scope("ssl").scope("certificate")),
      updates_(block.counter("ssl_context_update_by_sds")) {
  if (!speaks_) return;
  inbox_ = std::make_shared<Inbox>();
  inbox_->loop = &scope.loop;
  inbox_->reader = this;
  observe();
  // Shown before anybody connects, as far as it is known.
  look_again(0);
}

FactoryStats::~FactoryStats() {
  if (!inbox_) return;
  std::lock_guard lock(inbox_->mutex);
  inbox_->loop = nullptr;
  inbox_->reader = nullptr;
}

template <typename F>
void FactoryStats::for_each_discovered(F f) const {
  size_t which = 0;
  auto one = [&](const auto& named) {
    if (named.source && named.discovered) f(which++, named);
  };
  for (const auto& c : sources_.certificates) one(c);
  one(sources_.validation);
  one(sources_.tickets);
}

// First observed, then counted: what comes in between is counted once.
void FactoryStats::observe() {
  for_each_discovered([&](size_t which, const auto& named) {
    observers_.push_back(std::make_shared<Observer>(inbox_, which));
    named.source->observe(observers_.back());
    seen_.push_back(named.source->updates());
    updates_.add(seen_.back() - named.updates_before);
  });
}

void FactoryStats::take(const std::vector<Change>& changes) {
  for (const Change& change : changes) {
    for_each_discovered([&](size_t which, const auto& named) {
      if (which != change.which) return;
      if (change.workload != 0) return updates_.add(named.source->current(change.workload) ? 1 : 0);
      const uint64_t now = named.source->updates();
      updates_.add(now - std::exchange(seen_[which], now));
    });
  }
  // A rotation tells of certificate and CA: looked at once.
  std::vector<uint64_t> workloads;
  for (const Change& change : changes) workloads.push_back(change.workload);
  std::ranges::sort(workloads);
  workloads.erase(std::unique(workloads.begin(), workloads.end()), workloads.end());
  for (uint64_t workload : workloads) look_again(workload);
}

// One that has not connected yet is nobody's context.
void FactoryStats::look_again(uint64_t workload) {
  auto known = [&](uint64_t w) {
    return std::ranges::any_of(expirations_, [w](const auto& e) { return e.second.contains(w); });
  };
  if (workload != 0 && !known(workload)) return;
  const SecretSet now = sources_.current(workload);
  if (workload != 0 && !now.complete) return on_forgotten(workload);
  const auto validation = sources_.effective(now.validation);
  on_context(workload, now, validation.get());
  if (workload != 0) return;
  // Workloads that have none of their own use it, too.
  for (auto& [name, by_workload] : expirations_) {
    const auto own = by_workload.find(0);
    if (own == by_workload.end()) continue;
    for (auto& [w, at] : by_workload)
      if (w != 0 && sources_.current(w) == now) at = own->second;
    show(name);
  }
}

void FactoryStats::on_context(uint64_t workload, const SecretSet& secrets,
                              const tls::Validation* validation) {
  if (!speaks_) return;
  std::set<std::string> names;
  auto note = [&](const std::string& name, const auto& summaries) {
    if (!summaries.ok() || summaries->empty()) return;
    expirations_[name][workload] = seconds(summaries->front().not_after);
    names.insert(name);
  };
  // Where one of several is missing nobody knows whose the others are.
  if (secrets.certificates.size() == sources_.certificates.size())
    for (size_t i = 0; i < secrets.certificates.size(); ++i)
      note(sources_.certificates[i].name, tls::summarize(*secrets.certificates[i]));
  if (validation && !validation->trusted_ca.empty())
    note(sources_.validation.name, tls::summarize(validation->trusted_ca));
  for (const std::string& name : names) show(name);
}

void FactoryStats::on_forgotten(uint64_t workload) {
  for (auto& [name, by_workload] : expirations_)
    if (by_workload.erase(workload) > 0) show(name);
}

void FactoryStats::show(const std::string& name) {
  const auto& by_workload = expirations_[name];
  const auto first = std::ranges::min_element(by_workload, {}, [](const auto& e) { return e.second; });
  if (first == by_workload.end() || std::exchange(shown_[name], first->second) == first->second) return;
  certificates_.scope(name).gauge("expiration_unix_time_seconds").set(first->second);
}

}  // namespace sluice::extensions::transport_tls
