#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>

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
  void forget(uint64_t workload);
  size_t size() const;

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
  std::atomic<uint64_t> generation_{1};
  mutable std::shared_mutex mutex_;
  std::unordered_map<uint64_t, Own> all_;
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
