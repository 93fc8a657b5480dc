#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

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

}  // namespace sluice::xds
