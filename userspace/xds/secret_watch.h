#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/resources.h"
#include "core/stats.h"
#include "io/loop.h"
#include "model/secret.h"
#include "xds/file_watch.h"
#include "xds/subscription.h"
#include "xds/workload_secrets.h"

namespace sluice::xds {

// For /config_dump: one discovered secret.
struct SecretView {
  std::string name, version;
  WallTime at{};
  std::shared_ptr<const google::protobuf::Message> message;  // as it came; null: none yet, it warms
  config::Secret secret;
  std::string refused;  // why the last one was not taken; "": it was
  std::string refused_version;
  WallTime refused_at{};
};

// What all watches of secrets share. Outlives them.
struct SecretSurroundings {
  io::Loop& loop;
  const stats::Scope root;
  SubscriptionFactory* factory = nullptr;  // null: not started
  const config::Resources* resources = nullptr;
  std::shared_ptr<FileWatch> files = nullptr;  // made with the first secret that names files
  std::function<void()> on_ready = nullptr;
};

// The subscription to one secret of one source, and the files that this secret names. https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret
class SecretWatch final : public Subscriber {
 public:
  // `field`: the one of a Secret that must be set (config::kSecretField). `on_change` is told of each new value, and of
  // having become ready.
  SecretWatch(SecretSurroundings& around, std::string name, model::ConfigSource source, const char* field,
              std::function<void(const config::Secret*)> on_change);
  ~SecretWatch();

  Status start();
  bool ready() const { return ready_; }
  const config::Secret& secret() const { return view_.secret; }
  const SecretView& view() const { return view_; }
  const std::string& name() const { return view_.name; }
  const model::ConfigSource& source() const { return source_; }
  const char* field() const { return field_; }

  Status on_update(const Update& update) override;
  void on_failure(FetchFailure failure) override;

 private:
  Status take(const Resource& resource);
  Status watch_files();
  Result<config::Secret> read_stable() const;
  void set(config::Secret secret);
  void set_ready();
  static void rotate(io::TurnEnd& hook);

  SecretSurroundings& around_;
  const model::ConfigSource source_;
  const char* const field_;
  const std::function<void(const config::Secret*)> on_change_;
  stats::Scope scope_;
  stats::Counter key_rotation_failed_;
  SecretView view_;
  uint64_t hash_ = 0;  // of the message's bytes
  uint64_t refused_hash_ = 0;  // of those that are as bad when they come again; 0: there are none
  bool ready_ = false;
  io::TurnEnd rotate_;
  std::vector<std::unique_ptr<FileWatch::Registration>> registrations_;
  std::unique_ptr<Subscription> subscription_;
};

// What workers hold of one secret.
template <typename T>
class SharedSecret final : public model::SecretSource<T> {
 public:
  SharedSecret(std::string what, std::string name, std::shared_ptr<WorkloadSecrets> workloads)
      : what_(std::move(what)), name_(std::move(name)), workloads_(std::move(workloads)) {}

  bool ready() const override { return ready_; }
  std::string what() const override { return what_; }
  uint64_t generation() const override { return 1 + updates() + (workloads_ ? workloads_->generation() : 0); }
  uint64_t updates() const override { return updates_.load(std::memory_order_acquire); }
  void observe(const std::weak_ptr<model::SecretObserver>& observer) const override {
    observers_.add(observer);
    if (workloads_) workloads_->observe(observer);
  }
  std::shared_ptr<const T> current(uint64_t workload) const override {
    if (workload != 0 && workloads_) {
      if (auto own = workloads_->find<T>(name_, workload)) return *own;
    }
    std::lock_guard lock(mutex_);
    return current_;
  }

  void set(std::shared_ptr<const T> value) {
    {
      std::lock_guard lock(mutex_);
      current_.swap(value);
    }
    updates_.fetch_add(1, std::memory_order_release);
    observers_.tell(0);
  }
  void set_ready() { ready_ = true; }

 private:
  const std::string what_, name_;
  const std::shared_ptr<WorkloadSecrets> workloads_;  // null: the name is nobody's own
  mutable std::mutex mutex_;
  std::shared_ptr<const T> current_;
  std::atomic<uint64_t> updates_{0};
  mutable model::SecretObservers observers_;
  bool ready_ = false;  // the control thread's
};

}  // namespace sluice::xds
