#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/result.h"
#include "extensions/transport_sockets/tls/settings.h"

namespace sluice::extensions::transport_tls {

// A configuration's contexts on one thread, one for each identity: they are made when a connection of that workload wants
// them first, and again when its secrets have been replaced. What is connected keeps the context it began with. Workloads
// with the same secrets (an inline certificate is everybody's) share one.
template <typename Context>
class ContextCache {
 public:
  using ContextPtr = std::shared_ptr<Context>;
  // Workloads; those that nobody connects for make room, and get another context when they come back.
  static constexpr size_t kMaxEntries = 4096;

  struct Entry {
    uint64_t workload = 0;
    uint64_t generation = 0;
    SecretSet secrets;
    ContextPtr context;  // null: `failure` says why
    std::string failure;
  };

  explicit ContextCache(const SecretSources& sources) : sources_(sources) {}

  // The workload's, as its secrets are now. `make` is called with a complete set, and gives a Result<ContextPtr>. The
  // reference is good until the next call.
  template <typename Make>
  const Entry& get(uint64_t workload, uint64_t generation, Make make) {
    auto it = by_workload_.find(workload);
    if (it == by_workload_.end()) {
      if (entries_.size() >= kMaxEntries) forget(entries_.back().workload);
      entries_.emplace_front().workload = workload;
      it = by_workload_.emplace(workload, entries_.begin()).first;
      refresh(entries_.front(), generation, make);
    } else {
      if (it->second != entries_.begin()) entries_.splice(entries_.begin(), entries_, it->second);
      if (it->second->generation != generation) refresh(*it->second, generation, make);
    }
    return *it->second;
  }

  void forget(uint64_t workload) {
    auto it = by_workload_.find(workload);
    if (it == by_workload_.end()) return;
    entries_.erase(it->second);
    by_workload_.erase(it);
  }

  const std::list<Entry>& entries() const { return entries_; }

 private:
  template <typename Make>
  void refresh(Entry& entry, uint64_t generation, Make& make) {
    SecretSet now = sources_.current(entry.workload);
    const bool same = entry.generation != 0 && now == entry.secrets;
    entry.generation = generation;
    if (same) return;  // somebody else's was replaced
    entry.secrets = std::move(now);
    entry.context.reset();
    entry.failure.clear();
    if (!entry.secrets.complete) {
      entry.failure = kNotReady;
      return;
    }
    for (const Entry& other : entries_) {
      if (&other == &entry || other.secrets != entry.secrets || other.failure == kNotReady) continue;
      entry.context = other.context;
      entry.failure = other.failure;
      return;
    }
    Result<ContextPtr> made = make(entry.secrets);
    if (made.ok())
      entry.context = std::move(*made);
    else
      entry.failure = "TLS error: " + made.error().message;
  }

 public:
  static constexpr std::string_view kNotReady = "TLS error: Secret is not supplied by SDS";  // Envoy's

 private:
  const SecretSources& sources_;
  std::list<Entry> entries_;  // the latest used first
  std::unordered_map<uint64_t, typename std::list<Entry>::iterator> by_workload_;
};

}  // namespace sluice::extensions::transport_tls
