#include "xds/workload_secrets.h"

#include <mutex>

namespace sluice::xds {

void WorkloadSecrets::put(uint64_t workload, Own own) {
  Own before;
  {
    std::unique_lock lock(mutex_);
    before = std::exchange(all_[workload], std::move(own));
  }
  generation_.fetch_add(1, std::memory_order_release);
}

void WorkloadSecrets::forget(uint64_t workload) {
  Own before;
  {
    std::unique_lock lock(mutex_);
    const auto at = all_.find(workload);
    if (at == all_.end()) return;
    before = std::move(at->second);
    all_.erase(at);
  }
  generation_.fetch_add(1, std::memory_order_release);
}

size_t WorkloadSecrets::size() const {
  std::shared_lock lock(mutex_);
  return all_.size();
}

template <>
std::optional<std::shared_ptr<const tls::Certificate>> WorkloadSecrets::find(std::string_view name,
                                                                             uint64_t workload) const {
  if (workload == 0 || !certificate_name(name)) return std::nullopt;
  std::shared_lock lock(mutex_);
  const auto at = all_.find(workload);
  if (at == all_.end() || (name != "default" && name != at->second.identity)) return std::nullopt;
  return at->second.certificate;
}

template <>
std::optional<std::shared_ptr<const tls::Validation>> WorkloadSecrets::find(std::string_view name,
                                                                            uint64_t workload) const {
  if (workload == 0 || !trust_name(name)) return std::nullopt;
  std::shared_lock lock(mutex_);
  const auto at = all_.find(workload);
  if (at == all_.end()) return std::nullopt;
  return at->second.trust;
}

}  // namespace sluice::xds
