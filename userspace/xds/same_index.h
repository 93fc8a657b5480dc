#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sluice::xds {

// Values by a 64-bit hash that is good in all its bits. A push asks for thousands of which most are there, and pays for
// each cache line it touches: a look-up takes one, with four slots in it, and the values lie elsewhere. Each has a mark,
// which is the user's.
template <typename T>
class SameIndex {
 public:
  struct Slot {
    uint64_t hash = 0;
    uint32_t mark = 0;

   private:
    friend class SameIndex;
    uint32_t at = 0;  // of its value, from 1; 0: free
  };

  size_t size() const { return values_.size(); }
  T& value(const Slot& slot) const { return *values_[slot.at - 1].value; }

  // Of a find() that comes soon.
  void prefetch(uint64_t hash) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[hash & mask()], 1);
  }
  Slot* find(uint64_t hash) {
    if (slots_.empty()) return nullptr;
    for (size_t i = hash & mask();; i = (i + 1) & mask()) {
      if (slots_[i].at == 0) return nullptr;
      if (slots_[i].hash == hash) return &slots_[i];
    }
  }
  // False: there is one with this hash already.
  bool add(uint64_t hash, T& value) {
    if (find(hash) != nullptr) return false;
    if ((size() + 1) * 4 > slots_.size() * 3) grow();
    values_.push_back({&value, hash});
    Slot slot;
    slot.hash = hash;
    slot.at = static_cast<uint32_t>(values_.size());
    put(slot);
    return true;
  }
  void remove(uint64_t hash) {
    Slot* const found = find(hash);
    if (found == nullptr) return;
    // The last value takes the place of the one that goes.
    const uint32_t at = found->at;
    if (at < values_.size()) {
      values_[at - 1] = values_.back();
      find(values_[at - 1].hash)->at = at;
    }
    values_.pop_back();
    // Those behind it move up, as far as each may without coming before its own place.
    size_t hole = static_cast<size_t>(found - slots_.data());
    for (size_t i = (hole + 1) & mask(); slots_[i].at != 0; i = (i + 1) & mask()) {
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
      if (slot.at != 0) f(slot);
    }
  }

 private:
  size_t mask() const { return slots_.size() - 1; }
  void put(const Slot& slot) {
    size_t i = slot.hash & mask();
    while (slots_[i].at != 0) i = (i + 1) & mask();
    slots_[i] = slot;
  }
  void grow() {
    std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.empty() ? 16 : slots_.size() * 2));
    for (const Slot& slot : old) {
      if (slot.at != 0) put(slot);
    }
  }

  struct Value {
    T* value;
    uint64_t hash;
  };
  std::vector<Slot> slots_;  // a power of two, at most three quarters in use
  std::vector<Value> values_;  // in no order
};

}  // namespace sluice::xds
