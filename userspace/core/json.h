#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace sluice {

// A JSON value: state files, the control socket, `-o json`. Objects keep their order. (Configuration does not come
// through here: it has protobuf's own parser.)
class Json {
 public:
  enum class Type : uint8_t { null, boolean, integer, number, string, array, object };
  using Member = std::pair<std::string, Json>;

  Json() = default;
  Json(bool b) : type_(Type::boolean), integer_(b) {}  // NOLINT: implicit on purpose, as the others
  Json(int i) : type_(Type::integer), integer_(i) {}  // NOLINT
  Json(unsigned i) : type_(Type::integer), integer_(i) {}  // NOLINT
  Json(int64_t i) : type_(Type::integer), integer_(i) {}  // NOLINT
  // Above 2^63 an integer would turn negative: cookies and counters stay below.
  Json(uint64_t i) : type_(Type::integer), integer_(static_cast<int64_t>(i)) {}  // NOLINT
  Json(double d) : type_(Type::number), number_(d) {}  // NOLINT
  Json(const char* s) : type_(Type::string), string_(s) {}  // NOLINT
  Json(std::string_view s) : type_(Type::string), string_(s) {}  // NOLINT
  Json(std::string s) : type_(Type::string), string_(std::move(s)) {}  // NOLINT
  static Json array() { return Json(Type::array); }
  static Json object() { return Json(Type::object); }

  // The error says line and column. Depth is limited to 64.
  static Result<Json> parse(std::string_view text);
  std::string dump(bool pretty = false) const;

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::null; }
  bool is_object() const { return type_ == Type::object; }
  bool is_array() const { return type_ == Type::array; }
  bool is_string() const { return type_ == Type::string; }
  // The value, or `otherwise` when it is of another type.
  bool as_bool(bool otherwise = false) const { return type_ == Type::boolean ? integer_ != 0 : otherwise; }
  int64_t as_int(int64_t otherwise = 0) const { return type_ == Type::integer ? integer_ : otherwise; }
  double as_double(double otherwise = 0) const;
  const std::string& as_string() const { return string_; }  // empty when not a string

  const std::vector<Json>& items() const { return items_; }  // empty when not an array
  const std::vector<Member>& members() const { return members_; }  // empty when not an object
  const Json& operator[](std::string_view key) const;  // null when absent
  bool has(std::string_view key) const;
  Json& set(std::string key, Json value);  // makes an object of null; replaces
  Json& push(Json value);  // makes an array of null

 private:
  explicit Json(Type type) : type_(type) {}
  void dump_to(std::string& out, bool pretty, int depth) const;

  Type type_ = Type::null;
  int64_t integer_ = 0;
  double number_ = 0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<Member> members_;
};

}  // namespace sluice
