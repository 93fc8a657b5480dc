#include "xds/workload_secrets.h"

#include <mutex>
#include <utility>

namespace sluice::xds {

void WorkloadSecrets::put(uint64_t workload, Own own) {
  Own before;  // what is overwritten as it goes is overwritten outside the lock
  {
    std::unique_lock lock(mutex_);
    gone_.erase(workload);
    before = std::exchange(all_[workload], std::move(own));
  }
  changed(workload);
}

void WorkloadSecrets::forget(uint64_t workload) {
  Own before;
  {
    std::unique_lock lock(mutex_);
    const auto at = all_.find(workload);
    if (at == all_.end()) return;
    before = std::move(at->second);
    all_.erase(at);
    if (gone_.insert(workload).second) gone_order_.push_back(workload);
    if (gone_order_.size() > kGone) {
      gone_.erase(gone_order_.front());
      gone_order_.pop_front();
    }
  }
  changed(workload);
}

void WorkloadSecrets::use_configured(uint64_t workload) {
  Own before;
  {
    std::unique_lock lock(mutex_);
    auto node = all_.extract(workload);
    if (gone_.erase(workload) == 0 && node.empty()) return;
    if (!node.empty()) before = std::move(node.mapped());
  }
  changed(workload);
}

const WorkloadSecrets::Own* WorkloadSecrets::own_of(uint64_t workload) const {
  static const Own kNothing;
  const auto at = all_.find(workload);
  if (at != all_.end()) return &at->second;
  return gone_.contains(workload) ? &kNothing : nullptr;
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
  const Own* own = own_of(workload);
  if (own == nullptr) return std::nullopt;
  // Another's SPIFFE ID is not its own, and what the configuration has of that name is not for it either once it is gone.
  if (name != "default" && name != own->identity && !own->identity.empty()) return std::nullopt;
  return own->certificate;
}

template <>
std::optional<std::shared_ptr<const tls::Validation>> WorkloadSecrets::find(std::string_view name,
                                                                            uint64_t workload) const {
  if (workload == 0 || !trust_name(name)) return std::nullopt;
  std::shared_lock lock(mutex_);
  const Own* own = own_of(workload);
  if (own == nullptr) return std::nullopt;
  return own->trust;
}

}  // namespace sluice::xds
