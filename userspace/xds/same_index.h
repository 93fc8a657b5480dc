#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sluice::xds {

// Values by a 64-bit hash that is good in all its bits: one cache line a look-up, since a push asks for thousands of which
// most are there. Each has a mark, which is the user's.
template <typename T>
class SameIndex {
 public:
  struct Slot {
    uint64_t hash = 0;
    T* value = nullptr;  // null: free
    uint64_t mark = 0;
  };

  size_t size() const { return size_; }

  // Of a find() that comes soon.
  void prefetch(uint64_t hash) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[hash & mask()], 1);
  }
  Slot* find(uint64_t hash) {
    if (slots_.empty()) return nullptr;
    for (size_t i = hash & mask();; i = (i + 1) & mask()) {
      if (slots_[i].value == nullptr) return nullptr;
      if (slots_[i].hash == hash) return &slots_[i];
    }
  }
  // False: there is one with this hash already.
  bool add(uint64_t hash, T& value) {
    if (find(hash) != nullptr) return false;
    if ((size_ + 1) * 2 > slots_.size()) grow();
    put({hash, &value, 0});
    ++size_;
    return true;
  }
  void remove(uint64_t hash) {
    Slot* const found = find(hash);
    if (found == nullptr) return;
    --size_;
    // Those behind it move up, as far as each may without coming before its own place.
    size_t hole = static_cast<size_t>(found - slots_.data());
    for (size_t i = (hole + 1) & mask(); slots_[i].value != nullptr; i = (i + 1) & mask()) {
      const size_t home = slots_[i].hash & mask();
      if (((i - home) & mask()) < ((i - hole) & mask())) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole] = {};
  }
  template <typename F>
  void for_each(F f) {
    for (Slot& slot : slots_) {
      if (slot.value != nullptr) f(slot);
    }
  }

 private:
  size_t mask() const { return slots_.size() - 1; }
  void put(const Slot& slot) {
    size_t i = slot.hash & mask();
    while (slots_[i].value != nullptr) i = (i + 1) & mask();
    slots_[i] = slot;
  }
  void grow() {
    std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.empty() ? 16 : slots_.size() * 2));
    for (const Slot& slot : old) {
      if (slot.value != nullptr) put(slot);
    }
  }

  std::vector<Slot> slots_;  // a power of two, at most half in use
  size_t size_ = 0;
};

}  // namespace sluice::xds
