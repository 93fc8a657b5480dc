#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::extensions::tls_inspector {

// Takes numbers (network order) and vectors off the front of bytes. False: there are too few, and nothing was taken.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::string_view rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

  template <size_t Width, typename T>
  bool number(T& out) {
    static_assert(Width <= sizeof(T));
    if (rest_.size() < Width) return false;
    T value = 0;
    for (size_t i = 0; i < Width; ++i) value = static_cast<T>(value << 8 | static_cast<uint8_t>(rest_[i]));
    out = value;
    rest_.remove_prefix(Width);
    return true;
  }
  bool bytes(size_t n, std::string_view& out) {
    if (rest_.size() < n) return false;
    out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }
  // A vector whose length stands in Width bytes before it.
  template <size_t Width>
  bool vector(std::string_view& out) {
    const std::string_view before = rest_;
    uint32_t size = 0;
    if (number<Width>(size) && bytes(size, out)) return true;
    rest_ = before;
    return false;
  }

 private:
  std::string_view rest_;
};

}  // namespace sluice::extensions::tls_inspector
