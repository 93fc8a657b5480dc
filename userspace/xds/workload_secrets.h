#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "model/secret.h"
#include "tls/secret.h"

namespace sluice::xds {

// What each workload has of its own: its certificate, and whom it trusts. The control thread writes; any thread reads, once
// for each connection whose context is not the newest.
class WorkloadSecrets {
 public:
  struct Own {
    std::string identity;  // its SPIFFE ID
    // Null: there is none that could be used; nobody else's takes its place.
    std::shared_ptr<const tls::Certificate> certificate;
    std::shared_ptr<const tls::Validation> trust;
  };

  // Changes with anything that find() says.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  void put(uint64_t workload, Own own);
  // It has gone: what is left of its connections gets nothing any more, and least of all what the configuration names,
  // which is somebody else.
  void forget(uint64_t workload);
  // It has no source of its own (any more): what the configuration names is good for it.
  void use_configured(uint64_t workload);
  size_t size() const;
  void observe(std::weak_ptr<model::SecretObserver> observer) { observers_.add(std::move(observer)); }

  // What a secret of that name is to this workload: nothing said (nullopt) where the configured source counts, which is so
  // for workloads without a source of their own and for every name but "default", the workload's own SPIFFE ID, and
  // "ROOTCA" for whom to trust.
  template <typename T>
  std::optional<std::shared_ptr<const T>> find(std::string_view name, uint64_t workload) const;

  // Names that may be a workload's own.
  static bool certificate_name(std::string_view name) {
    return name == "default" || name.starts_with("spiffe://");
  }
  static bool trust_name(std::string_view name) { return name == "ROOTCA"; }

 private:
  void changed(uint64_t workload) {
    generation_.fetch_add(1, std::memory_order_release);
    observers_.tell(workload);
  }

  std::atomic<uint64_t> generation_{1};
  model::SecretObservers observers_;
  mutable std::shared_mutex mutex_;
  const Own* own_of(uint64_t workload) const;  // under the lock

  std::unordered_map<uint64_t, Own> all_;
  // The last that have gone. Cookies are not used again; a connection does not outlive so many pods of a node.
  static constexpr size_t kGone = 65536;
  std::unordered_set<uint64_t> gone_;
  std::deque<uint64_t> gone_order_;
};

template <>
std::optional<std::shared_ptr<const tls::Certificate>> WorkloadSecrets::find(std::string_view name,
                                                                             uint64_t workload) const;
template <>
std::optional<std::shared_ptr<const tls::Validation>> WorkloadSecrets::find(std::string_view name,
                                                                            uint64_t workload) const;
template <>
inline std::optional<std::shared_ptr<const tls::TicketKeys>> WorkloadSecrets::find(std::string_view,
                                                                                   uint64_t) const {
  return std::nullopt;
}

}  // namespace sluice::xds
