#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::model {

struct VirtualHost;

// Which virtual host a domain belongs to: open addressing, in pages that versions of a table share. A virtual host that
// changes among thousands costs the pages its domains are in. Immutable: any thread may read. The hosts outlive it.
class DomainTable {
 public:
  class Builder;

  // `name` in lower case. Exact, then "*.suffix" the longest first, then "prefix.*" the longest first; null: none of them.
  // `lookups`: adds how often the table was asked.
  const VirtualHost* find(std::string_view name, size_t& lookups) const;
  const VirtualHost* any() const { return any_; }  // "*"; null: there is none
  bool empty() const { return size_ == 0; }  // but for "*"
  // With how many pages of another one they are the same memory.
  size_t pages_shared_with(const DomainTable& other) const;
  size_t pages() const { return pages_.size(); }

 private:
  enum class Kind : uint8_t { exact, suffix, prefix };
  // A domain and what is left of it without its "*".
  struct Key {
    explicit Key(std::string_view domain);
    Key(Kind kind, std::string_view text);
    bool operator==(const Key& other) const { return kind == other.kind && text == other.text; }
    Kind kind;
    std::string_view text;
    uint32_t hash() const;
  };
  struct Slot {
    const VirtualHost* host = nullptr;  // null: free
    uint32_t hash = 0;
    uint32_t domain = 0;  // of host->domains
  };
  static constexpr size_t kPage = 128;  // slots
  using Page = std::array<Slot, kPage>;
  struct Length {
    size_t length, domains;  // without "*"; so many have it
  };

  size_t mask() const { return pages_.size() * kPage - 1; }
  const Slot& slot(size_t i) const { return (*pages_[i / kPage])[i % kPage]; }
  static Key key_of(const Slot& slot);
  // Where it is, or would be.
  size_t place_of(const Key& key, uint32_t hash) const;
  const VirtualHost* find_wildcard(Kind kind, const std::vector<Length>& lengths, std::string_view name,
                                   size_t& lookups) const;

  std::vector<std::shared_ptr<const Page>> pages_;  // slots: a power of two, at most half in use
  size_t size_ = 0;
  std::vector<Length> suffixes_, prefixes_;  // the longest first
  const VirtualHost* any_ = nullptr;
};

// Makes a table from nothing or from another one, of which it copies the pages that it changes.
class DomainTable::Builder {
 public:
  explicit Builder(size_t domains);
  explicit Builder(const DomainTable& before);

  // The first domain of `host`, in its order, that another one has already; null: none, and all of them are in.
  const std::string* add(const VirtualHost& host);
  void remove(const VirtualHost& host);  // whose domains are in
  DomainTable build() && { return std::move(table_); }

 private:
  Slot& writable(size_t i);
  void make_pages(size_t slots);
  void put(const Slot& slot);
  void grow();
  void erase(size_t at);
  std::vector<Length>* lengths_of(Kind kind);

  DomainTable table_;
  std::vector<Page*> own_;  // by page: null where another table may have it, too
};

}  // namespace sluice::model
