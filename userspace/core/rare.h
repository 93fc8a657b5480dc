#pragma once

#include <memory>
#include <utility>

namespace sluice {

// A value that nearly always is its default, a T(): until it is something else it takes the room of a pointer. For the
// many fields of what there are tens of thousands of. Reads as a const T, always; edit() gives one to write to. A copy has
// its own.
template <typename T>
class Rare {
 public:
  Rare() = default;
  Rare(T value) : value_(std::make_unique<T>(std::move(value))) {}  // NOLINT: implicit on purpose
  Rare(const Rare& other) : value_(other.value_ ? std::make_unique<T>(*other.value_) : nullptr) {}
  Rare(Rare&&) noexcept = default;
  Rare& operator=(Rare other) noexcept {
    value_ = std::move(other.value_);
    return *this;
  }

  explicit operator bool() const { return value_ != nullptr; }  // whether it was ever written to
  const T& operator*() const { return value_ ? *value_ : none(); }
  const T* operator->() const { return &**this; }
  T& edit() {
    if (!value_) value_ = std::make_unique<T>();
    return *value_;
  }

 private:
  static const T& none() {
    static const T instance{};
    return instance;
  }

  std::unique_ptr<T> value_;
};

}  // namespace sluice
