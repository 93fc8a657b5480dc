#include "model/domain_table.h"

#include <algorithm>
#include <bit>

#include "core/xxhash.h"
#include "model/route.h"

namespace sluice::model {

DomainTable::Key::Key(std::string_view domain) : kind(Kind::exact), text(domain) {
  if (text.starts_with('*')) {
    kind = Kind::suffix;
    text.remove_prefix(1);
  } else if (text.ends_with('*')) {
    kind = Kind::prefix;
    text.remove_suffix(1);
  }
}

DomainTable::Key::Key(Kind k, std::string_view t) : kind(k), text(t) {}

uint32_t DomainTable::Key::hash() const {
  return static_cast<uint32_t>(xxhash64(text, static_cast<uint64_t>(kind)));
}

DomainTable::Key DomainTable::key_of(const Slot& slot) {
  return Key(slot.host->domains[slot.domain]);
}

size_t DomainTable::place_of(const Key& key, uint32_t hash) const {
  size_t i = hash & mask();
  for (;; i = (i + 1) & mask()) {
    const Slot& there = slot(i);
    if (there.host == nullptr || (there.hash == hash && key_of(there) == key)) return i;
  }
}

const VirtualHost* DomainTable::find_wildcard(Kind kind, const std::vector<Length>& lengths,
                                              std::string_view name, size_t& lookups) const {
  for (const auto& [length, domains] : lengths) {
    if (length >= name.size()) continue;  // "*.a.com" is not ".a.com"
    ++lookups;
    const Key key(kind, kind == Kind::suffix ? name.substr(name.size() - length) : name.substr(0, length));
    if (const VirtualHost* host = slot(place_of(key, key.hash())).host) return host;
  }
  return nullptr;
}

const VirtualHost* DomainTable::find(std::string_view name, size_t& lookups) const {
  if (empty()) return nullptr;
  ++lookups;
  const Key key(Kind::exact, name);
  if (const VirtualHost* host = slot(place_of(key, key.hash())).host) return host;
  if (const VirtualHost* host = find_wildcard(Kind::suffix, suffixes_, name, lookups)) return host;
  return find_wildcard(Kind::prefix, prefixes_, name, lookups);
}

size_t DomainTable::pages_shared_with(const DomainTable& other) const {
  size_t out = 0;
  for (size_t i = 0; i < std::min(pages_.size(), other.pages_.size()); ++i)
    out += pages_[i] == other.pages_[i];
  return out;
}

DomainTable::Builder::Builder(size_t domains) {
  make_pages(2 * domains);
}

DomainTable::Builder::Builder(const DomainTable& before) : table_(before), own_(before.pages_.size()) {}

void DomainTable::Builder::make_pages(size_t slots) {
  const size_t count = std::bit_ceil(std::max(slots, kPage)) / kPage;
  table_.pages_.clear();
  own_.clear();
  for (size_t i = 0; i < count; ++i) {
    auto page = std::make_shared<Page>();
    own_.push_back(page.get());
    table_.pages_.push_back(std::move(page));
  }
}

DomainTable::Slot& DomainTable::Builder::writable(size_t i) {
  Page*& own = own_[i / kPage];
  if (own == nullptr) {
    auto copy = std::make_shared<Page>(*table_.pages_[i / kPage]);
    own = copy.get();
    table_.pages_[i / kPage] = std::move(copy);
  }
  return (*own)[i % kPage];
}

void DomainTable::Builder::put(const Slot& slot) {
  size_t i = slot.hash & table_.mask();
  while (table_.slot(i).host != nullptr) i = (i + 1) & table_.mask();
  writable(i) = slot;
}

void DomainTable::Builder::grow() {
  const auto old = table_.pages_;
  make_pages(2 * old.size() * kPage);
  for (const auto& page : old)
    for (const Slot& slot : *page)
      if (slot.host != nullptr) put(slot);
}

std::vector<DomainTable::Length>* DomainTable::Builder::lengths_of(Kind kind) {
  if (kind == Kind::exact) return nullptr;
  return kind == Kind::suffix ? &table_.suffixes_ : &table_.prefixes_;
}

const std::string* DomainTable::Builder::add(const VirtualHost& host) {
  for (uint32_t i = 0; i < host.domains.size(); ++i) {
    const std::string& domain = host.domains[i];
    if (domain == "*") {
      if (table_.any_ != nullptr) return &domain;
      table_.any_ = &host;
      continue;
    }
    const Key key(domain);
    const uint32_t hash = key.hash();
    const size_t at = table_.place_of(key, hash);
    if (table_.slot(at).host != nullptr) return &domain;
    writable(at) = {&host, hash, i};
    if (2 * ++table_.size_ > table_.mask() + 1) grow();
    if (auto* lengths = lengths_of(key.kind)) {
      const auto found =
          std::ranges::lower_bound(*lengths, key.text.size(), std::greater<>(), &Length::length);
      if (found != lengths->end() && found->length == key.text.size())
        ++found->domains;
      else
        lengths->insert(found, {key.text.size(), 1});
    }
  }
  return nullptr;
}

void DomainTable::Builder::remove(const VirtualHost& host) {
  for (const std::string& domain : host.domains) {
    if (domain == "*") {
      table_.any_ = nullptr;
      continue;
    }
    const Key key(domain);
    erase(table_.place_of(key, key.hash()));
    --table_.size_;
    if (auto* lengths = lengths_of(key.kind)) {
      const auto found = std::ranges::find(*lengths, key.text.size(), &Length::length);
      if (--found->domains == 0) lengths->erase(found);
    }
  }
}

void DomainTable::Builder::erase(size_t at) {
  // Those behind it move up, as far as each may without coming before its own place.
  const size_t mask = table_.mask();
  size_t hole = at;
  for (size_t i = (hole + 1) & mask; table_.slot(i).host != nullptr; i = (i + 1) & mask) {
    const size_t home = table_.slot(i).hash & mask;
    if (((i - home) & mask) < ((i - hole) & mask)) continue;
    writable(hole) = table_.slot(i);
    hole = i;
  }
  writable(hole) = {};
}

}  // namespace sluice::model
