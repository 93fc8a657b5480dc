#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace sluice {

// What went wrong, in words an operator can act on. `message` names the thing (field, file, host) and the remedy
// where there is one; `code` is an errno value where the kernel said no, else 0.
struct Error {
  std::string message;
  int code = 0;

  // "context: message"; used while an error travels up, outermost first.
  Error prefixed(std::string_view context) && {
    message.insert(0, ": ");
    message.insert(0, context);
    return std::move(*this);
  }
};

// "message: strerror(code)" with the code kept.
Error errno_error(int code, std::string_view what);

// A value or an Error. No exceptions on the data path.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit on purpose
  Result(Error e) : v_(std::in_place_index<1>, std::move(e)) {}  // NOLINT

  bool ok() const { return v_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return assert(ok()), *std::get_if<0>(&v_); }
  const T& value() const& { return assert(ok()), *std::get_if<0>(&v_); }
  T&& value() && { return assert(ok()), std::move(*std::get_if<0>(&v_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& { return assert(!ok()), *std::get_if<1>(&v_); }
  Error&& error() && { return assert(!ok()), std::move(*std::get_if<1>(&v_)); }

 private:
  std::variant<T, Error> v_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error e) : e_(std::move(e)) {}  // NOLINT: implicit on purpose

  bool ok() const { return !e_; }
  explicit operator bool() const { return ok(); }
  const Error& error() const& { return assert(!ok()), *e_; }
  Error&& error() && { return assert(!ok()), std::move(*e_); }

 private:
  std::optional<Error> e_;
};

using Status = Result<void>;

// Returns the error of `expr` to the caller; for expressions whose value is not needed.
#define SLUICE_TRY(expr)                                                                              \
  do {                                                                                                \
    if (auto sluice_status_ = (expr); !sluice_status_.ok()) return std::move(sluice_status_).error(); \
  } while (0)

#define SLUICE_CONCAT_(a, b) a##b
#define SLUICE_CONCAT(a, b) SLUICE_CONCAT_(a, b)
// `SLUICE_ASSIGN(auto x, expr)`: x takes the value, or the caller gets the error.
#define SLUICE_ASSIGN(lhs, expr)                                  \
  auto SLUICE_CONCAT(sluice_r_, __LINE__) = (expr);               \
  if (!SLUICE_CONCAT(sluice_r_, __LINE__).ok())                   \
    return std::move(SLUICE_CONCAT(sluice_r_, __LINE__)).error(); \
  lhs = std::move(SLUICE_CONCAT(sluice_r_, __LINE__)).value()

}  // namespace sluice
