#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/header_names.h"

namespace sluice::http {

// The header (or trailer) fields of one message, in order of arrival, names in lower case. The bytes lie in blocks of
// the map's own: a view of a name or value is good until the map is cleared or destroyed, also after that field was
// replaced or removed. Belongs to one thread. What is copied in is not checked: codecs check what comes from a peer
// (RFC 9110 section 5), configuration what comes from there.
class HeaderMap {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
    Name id = Name::other;
  };

  HeaderMap() = default;
  HeaderMap(const HeaderMap&) = delete;
  HeaderMap& operator=(const HeaderMap&) = delete;

  // Appends, whatever is there already. Copies the value; `name` in lower case.
  void add(Name id, std::string_view value);
  void add(std::string_view name, std::string_view value);
  // The value is not copied: it outlives the map (a literal).
  void add_static(Name id, std::string_view value);
  // Makes it the only field of that name: in the place of the first, or at the end.
  void set(Name id, std::string_view value);
  void set(std::string_view name, std::string_view value);
  void set_static(Name id, std::string_view value);
  void set_integer(Name id, uint64_t value);
  // "old<separator>value" in the first field of that name, or a new field.
  void append(Name id, std::string_view value, std::string_view separator = ",");
  void append(std::string_view name, std::string_view value, std::string_view separator = ",");
  // All fields of that name; how many there were.
  size_t remove(Name id);
  size_t remove(std::string_view name);
  template <typename Predicate>  // bool(const Field&)
  size_t remove_if(Predicate predicate) {
    size_t before = fields_.size();
    std::erase_if(fields_, predicate);
    if (fields_.size() != before) recount();
    return before - fields_.size();
  }

  bool has(Name id) const {
    return present_[static_cast<size_t>(id) / 64] >> (static_cast<size_t>(id) % 64) & 1;
  }
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The first value of that name; a view with data() == nullptr where there is none.
  std::string_view get(Name id) const {
    if (!has(id)) return {};
    for (const Field& f : fields_)
      if (f.id == id) return f.value;
    return {};
  }
  std::string_view get(std::string_view name) const {
    const Field* f = find(name);
    return f ? f->value : std::string_view{};
  }
  const Field* find(std::string_view name) const;  // the first; nullptr: none
  size_t count(std::string_view name) const;
  // All values of that name joined by "," (Envoy: HeaderUtility::getAllOfHeaderAsString); none: nullopt. `scratch` holds
  // the text where there is more than one.
  std::optional<std::string_view> joined(std::string_view name, std::string& scratch) const;

  size_t size() const { return fields_.size(); }  // fields
  bool empty() const { return fields_.empty(); }
  size_t bytes() const { return bytes_; }  // names and values, what header limits count
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

  void clear();
  void copy_from(const HeaderMap& other);
  // A copy of `text` that lives as long as the map's fields.
  std::string_view store(std::string_view text);
  char* allocate(size_t size);  // uninitialised, of the map's own; for codecs that write a value in place

 private:
  void push(std::string_view name, std::string_view value, Name id);
  void replace(Name id, std::string_view name, std::string_view stored);
  bool matches(const Field& f, Name id, std::string_view name) const {
    return id != Name::other ? f.id == id : f.id == Name::other && f.name == name;
  }
  void recount();

  struct Block {
    std::unique_ptr<char[]> data;
    size_t size;
  };
  std::vector<Field> fields_;
  uint64_t present_[2] = {};
  static_assert(static_cast<size_t>(Name::count) <= 128);
  size_t bytes_ = 0;
  std::vector<Block> blocks_;  // clear() keeps one
  size_t used_ = 0;  // of the last block
};

// Maps come from a free list of the thread and go back to it, with their memory.
struct HeaderMapRelease {
  void operator()(HeaderMap* map) const;
};
using HeaderMapPtr = std::unique_ptr<HeaderMap, HeaderMapRelease>;
HeaderMapPtr make_headers();
HeaderMapPtr copy_headers(const HeaderMap& from);

}  // namespace sluice::http
