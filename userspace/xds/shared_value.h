#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "io/loop.h"

namespace sluice::xds {

// What workers read of something that is discovered: a model::RouteSource and the like. The control thread alone writes;
// workers come for the value only when the generation has changed.
template <typename Source, typename Value>
class SharedValue : public Source {
 public:
  uint64_t generation() const final { return generation_.load(std::memory_order_acquire); }
  std::shared_ptr<const Value> current() const final {
    std::lock_guard lock(mutex_);
    return current_;
  }
  void set(std::shared_ptr<const Value> value) {
    {
      std::lock_guard lock(mutex_);
      current_.swap(value);
    }
    generation_.fetch_add(1, std::memory_order_release);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Value> current_;
  std::atomic<uint64_t> generation_{1};
};

// A value that is kept up to date as long as somebody uses it.
template <typename Source>
class Lent {
 public:
  // All who use it at one time get the same. The last to let go may be a worker; what goes then belongs to the control
  // thread: there forget(*owner) is called, unless the owner has died. By then somebody may use it again: see unused().
  template <typename Shared, typename Owner, typename Forget>
  std::shared_ptr<const Source> get(const std::shared_ptr<Shared>& value, io::Loop& loop,
                                    const std::shared_ptr<Owner*>& owner, Forget forget) {
    if (auto users = users_.lock()) return users;
    std::shared_ptr<const Source> users(value.get(),
                                        [held = value, loop = &loop, owner = std::weak_ptr(owner),
                                         forget = std::move(forget)](const Source*) mutable {
                                          held.reset();
                                          if (owner.expired()) return;
                                          loop->post([owner, forget] {
                                            if (auto o = owner.lock()) forget(**o);
                                          });
                                        });
    users_ = users;
    return users;
  }
  bool unused() const { return users_.expired(); }

 private:
  std::weak_ptr<const Source> users_;
};

}  // namespace sluice::xds
