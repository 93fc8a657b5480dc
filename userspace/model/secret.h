#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "model/dependency.h"
#include "tls/secret.h"

namespace sluice::model {

// Who wants to know at once that a secret has been replaced.
class SecretObserver {
 public:
  // On the thread that replaced it. `workload`: whose; 0: that of all who have none of their own.
  virtual void on_change(uint64_t workload) = 0;

 protected:
  ~SecretObserver() = default;
};

// Any thread.
class SecretObservers {
 public:
  void add(std::weak_ptr<SecretObserver> observer) {
    std::lock_guard lock(mutex_);
    if (all_.size() >= sweep_at_) {
      std::erase_if(all_, [](const auto& o) { return o.expired(); });
      sweep_at_ = std::max(kSweep, 2 * all_.size());
    }
    all_.push_back(std::move(observer));
  }
  void tell(uint64_t workload) const {
    std::vector<std::weak_ptr<SecretObserver>> now;
    {
      std::lock_guard lock(mutex_);
      now = all_;
    }
    for (const auto& weak : now)
      if (const auto observer = weak.lock()) observer->on_change(workload);
  }

 private:
  static constexpr size_t kSweep = 16;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<SecretObserver>> all_;
  size_t sweep_at_ = kSweep;  // those that have gone are looked for when there are so many
};

// A secret that can change while it is used, and may differ by workload. Readers are on any thread.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret
template <typename T>
class SecretSource : public Dependency {
 public:
  // Changes with what current() gives for any workload: as long as it stays, that is good.
  virtual uint64_t generation() const = 0;
  // `workload`: its network namespace's cookie; 0: the proxy itself. Null: there is none (yet), or none that is usable.
  virtual std::shared_ptr<const T> current(uint64_t workload) const = 0;
  // How many values the configured source has given so far; those of workloads are not among them.
  virtual uint64_t updates() const { return 0; }
  // Told of every change from now on, for as long as it is there.
  virtual void observe(const std::weak_ptr<SecretObserver>& /*observer*/) const {}
};
using CertificateSource = SecretSource<tls::Certificate>;
using ValidationSource = SecretSource<tls::Validation>;
using TicketKeySource = SecretSource<tls::TicketKeys>;

}  // namespace sluice::model
