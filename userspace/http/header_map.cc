#include "http/header_map.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace sluice::http {
namespace {

constexpr std::string_view kNames[] = {"",
#define SLUICE_HTTP_NAME_TEXT(id, text) text,
                                       SLUICE_HTTP_NAMES(SLUICE_HTTP_NAME_TEXT)
#undef SLUICE_HTTP_NAME_TEXT
};
constexpr size_t kNameCount = std::size(kNames);
static_assert(kNameCount == static_cast<size_t>(Name::count));

// Open addressing over (length, two characters): a miss costs one probe or two, a hit one comparison.
constexpr size_t kSlots = 512;
constexpr size_t slot_of(std::string_view s) {
  auto at = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(s[i])); };
  return (s.size() * 31 + at(s.size() / 2) * 7 + at(s.size() - 1) * 131 + at(0) * 17 +
          at(s.size() * 3 / 4) * 57) %
         kSlots;
}
constexpr std::array<uint8_t, kSlots> make_table() {
  std::array<uint8_t, kSlots> table{};
  for (size_t i = 1; i < kNameCount; ++i) {
    size_t slot = slot_of(kNames[i]);
    while (table[slot]) slot = (slot + 1) % kSlots;
    table[slot] = static_cast<uint8_t>(i);
  }
  return table;
}
constexpr auto kTable = make_table();

constexpr size_t kFirstBlock = 512;
constexpr size_t kKeepBlock = 2048;    // a bigger block is not kept
constexpr size_t kKeepFields = 64;     // a map that grew beyond is not kept
constexpr size_t kKeepMaps = 256;      // free maps a thread keeps
thread_local std::vector<std::unique_ptr<HeaderMap>> free_maps;

}  // namespace

std::string_view to_string(Name name) {
  return kNames[static_cast<size_t>(name)];
}

Name find_name(std::string_view lower) {
  if (lower.empty()) return Name::other;
  for (size_t slot = slot_of(lower); kTable[slot]; slot = (slot + 1) % kSlots)
    if (kNames[kTable[slot]] == lower) return static_cast<Name>(kTable[slot]);
  return Name::other;
}

char* HeaderMap::allocate(size_t size) {
  if (blocks_.empty() || blocks_.back().size - used_ < size) {
    size_t want = std::max(blocks_.empty() ? kFirstBlock : blocks_.back().size * 2, size);
    blocks_.push_back({std::make_unique_for_overwrite<char[]>(want), want});
    used_ = 0;
  }
  char* p = blocks_.back().data.get() + used_;
  used_ += size;
  return p;
}

std::string_view HeaderMap::store(std::string_view text) {
  char* p = allocate(text.size());
  std::copy(text.begin(), text.end(), p);
  return {p, text.size()};
}

void HeaderMap::push(std::string_view name, std::string_view value, Name id) {
  fields_.push_back({name, value, id});
  present_[static_cast<size_t>(id) / 64] |= 1ull << (static_cast<size_t>(id) % 64);
  bytes_ += name.size() + value.size();
}

void HeaderMap::recount() {
  present_[0] = present_[1] = 0;
  bytes_ = 0;
  for (const Field& f : fields_) {
    present_[static_cast<size_t>(f.id) / 64] |= 1ull << (static_cast<size_t>(f.id) % 64);
    bytes_ += f.name.size() + f.value.size();
  }
}

void HeaderMap::add(Name id, std::string_view value) {
  push(to_string(id), store(value), id);
}

void HeaderMap::add(std::string_view name, std::string_view value) {
  Name id = find_name(name);
  push(id == Name::other ? store(name) : to_string(id), store(value), id);
}

void HeaderMap::add_static(Name id, std::string_view value) {
  push(to_string(id), value, id);
}

void HeaderMap::replace(Name id, std::string_view name, std::string_view stored) {
  bool done = false;
  auto out = fields_.begin();
  for (auto in = fields_.begin(); in != fields_.end(); ++in) {
    if (matches(*in, id, name)) {
      if (done) {
        bytes_ -= in->name.size() + in->value.size();
        continue;
      }
      done = true;
      bytes_ += stored.size() - in->value.size();
      in->value = stored;
    }
    if (out != in) *out = *in;
    ++out;
  }
  fields_.erase(out, fields_.end());
  if (!done) push(id == Name::other ? store(name) : to_string(id), stored, id);
}

void HeaderMap::set(Name id, std::string_view value) {
  set_static(id, store(value));
}

void HeaderMap::set_static(Name id, std::string_view value) {
  if (has(id)) return replace(id, {}, value);
  push(to_string(id), value, id);
}

void HeaderMap::set(std::string_view name, std::string_view value) {
  replace(find_name(name), name, store(value));
}

void HeaderMap::set_integer(Name id, uint64_t value) {
  char text[20];
  auto end = std::to_chars(text, text + sizeof text, value).ptr;
  set(id, {text, static_cast<size_t>(end - text)});
}

void HeaderMap::append(Name id, std::string_view value, std::string_view separator) {
  append(to_string(id), value, separator);
}

void HeaderMap::append(std::string_view name, std::string_view value, std::string_view separator) {
  auto* field = const_cast<Field*>(find(name));
  if (!field) return add(name, value);
  std::string_view old = field->value;
  char* p = allocate(old.size() + separator.size() + value.size());
  std::memcpy(p, old.data(), old.size());
  std::memcpy(p + old.size(), separator.data(), separator.size());
  std::memcpy(p + old.size() + separator.size(), value.data(), value.size());
  field->value = {p, old.size() + separator.size() + value.size()};
  bytes_ += separator.size() + value.size();
}

size_t HeaderMap::remove(Name id) {
  if (!has(id)) return 0;
  return remove_if([&](const Field& f) { return f.id == id; });
}

size_t HeaderMap::remove(std::string_view name) {
  Name id = find_name(name);
  if (id != Name::other) return remove(id);
  return remove_if([&](const Field& f) { return matches(f, id, name); });
}

const HeaderMap::Field* HeaderMap::find(std::string_view name) const {
  Name id = find_name(name);
  if (!has(id)) return nullptr;
  for (const Field& f : fields_)
    if (matches(f, id, name)) return &f;
  return nullptr;
}

size_t HeaderMap::count(std::string_view name) const {
  Name id = find_name(name);
  return static_cast<size_t>(
      std::count_if(fields_.begin(), fields_.end(), [&](const Field& f) { return matches(f, id, name); }));
}

std::optional<std::string_view> HeaderMap::joined(std::string_view name, std::string& scratch) const {
  Name id = find_name(name);
  const Field* first = nullptr;
  bool many = false;
  for (const Field& f : fields_) {
    if (!matches(f, id, name)) continue;
    if (!first) {
      first = &f;
      continue;
    }
    if (!many) scratch.assign(first->value);
    many = true;
    scratch.append(",").append(f.value);
  }
  if (!first) return std::nullopt;
  return many ? std::string_view(scratch) : first->value;
}

void HeaderMap::clear() {
  fields_.clear();
  present_[0] = present_[1] = 0;
  bytes_ = 0;
  used_ = 0;
  // Of the blocks that grew, the biggest of ordinary size stays: who sends much is likely to do so again.
  while (!blocks_.empty() && blocks_.back().size > kKeepBlock) blocks_.pop_back();
  if (blocks_.size() > 1) {
    std::swap(blocks_.front(), blocks_.back());
    blocks_.resize(1);
  }
}

void HeaderMap::copy_from(const HeaderMap& other) {
  clear();
  fields_.reserve(other.fields_.size());
  char* p = allocate(other.bytes_);
  auto copy = [&](std::string_view s) {
    std::copy(s.begin(), s.end(), p);
    std::string_view stored{p, s.size()};
    p += s.size();
    return stored;
  };
  for (const Field& f : other.fields_) push(f.id == Name::other ? copy(f.name) : f.name, copy(f.value), f.id);
}

void HeaderMapRelease::operator()(HeaderMap* map) const {
  std::unique_ptr<HeaderMap> owned(map);
  if (free_maps.size() >= kKeepMaps || map->size() > kKeepFields) return;
  map->clear();
  free_maps.push_back(std::move(owned));
}

HeaderMapPtr make_headers() {
  if (free_maps.empty()) return HeaderMapPtr(new HeaderMap);
  HeaderMapPtr map(free_maps.back().release());
  free_maps.pop_back();
  return map;
}

HeaderMapPtr copy_headers(const HeaderMap& from) {
  HeaderMapPtr map = make_headers();
  map->copy_from(from);
  return map;
}

}  // namespace sluice::http
