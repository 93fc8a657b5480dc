#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::config {

// A place in a message: "static_resources.listeners[0].filter_chains[1]". A chain of links on the stack of a
// walk, so that only an error pays for the text. Every link must outlive its children.
class FieldPath {
 public:
  FieldPath() = default;  // the top; with a name: below that
  explicit FieldPath(std::string_view prefix) : name_(prefix) {}
  FieldPath field(std::string_view name) const { return {this, name, Kind::field, 0}; }
  FieldPath item(size_t index) const { return {this, {}, Kind::item, index}; }     // [3]
  FieldPath key(std::string_view key) const { return {this, key, Kind::key, 0}; }  // ["a.b"]

  size_t depth() const { return depth_; }
  std::string to_string() const;  // "" at the top
  // "path: what", or only "what" at the top.
  std::string error(std::string_view what) const;

 private:
  enum class Kind : unsigned char { field, item, key };
  FieldPath(const FieldPath* parent, std::string_view name, Kind kind, size_t index)
      : parent_(parent), name_(name), index_(index), depth_(parent->depth_ + 1), kind_(kind) {}

  const FieldPath* parent_ = nullptr;
  std::string_view name_;
  size_t index_ = 0;
  size_t depth_ = 0;
  Kind kind_ = Kind::field;
};

}  // namespace sluice::config
