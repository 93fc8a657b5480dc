#include "config/plainly_valid.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/common.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <mutex>
#include <string>

#include "config/honoured.h"
#include "config/plain_tables.h"
#include "config/rules.h"
#include "config/validate.h"
#include "config/wire.h"
#include "core/little_endian.h"

namespace sluice::config {

namespace pb = google::protobuf;
using plain::Chars;
using plain::Entry;
using plain::Field;
using plain::Kind;
using plain::Table;
using plain::Tables;
using plain::Value;

namespace {

// Messages in messages, an entry of a map for one of them. Less than protobuf's parser (100) and validate() let through.
constexpr int kMaxDepth = 48;

using CharSet = std::array<bool, 256>;

template <typename Is>
constexpr CharSet char_set(Is is) {
  CharSet out{};
  for (unsigned c = 0; c < 0x80; ++c) out[c] = is(static_cast<char>(c));
  return out;
}

// As the patterns of rules_text.cc have them, of ASCII.
constexpr CharSet kHeaderName = char_set([](char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+,-.^_|~`").find(c) != std::string_view::npos;
});
constexpr CharSet kNoLineEnd = char_set([](char c) { return c != '\0' && c != '\n' && c != '\r'; });

bool all_of(const CharSet& set, std::string_view text) {
  bool good = true;
  for (const char c : text) good &= set[static_cast<unsigned char>(c)];
  return good;
}

bool is_ascii(std::string_view text) {
  const char* at = text.data();
  size_t left = text.size();
  uint64_t bits = 0, word = 0;
  for (; left >= sizeof word; at += sizeof word, left -= sizeof word) {
    std::memcpy(&word, at, sizeof word);
    bits |= word;
  }
  for (; left > 0; ++at, --left) bits |= static_cast<unsigned char>(*at);
  return (bits & 0x8080808080808080) == 0;
}

bool is_utf8(std::string_view text) {
  return is_ascii(text) || pb::internal::IsStructurallyValidUTF8(text.data(), static_cast<int>(text.size()));
}

bool by_rules(const Value& value, std::string_view text) {
  return rules::check_string(*value.rules, std::string(text)).empty();
}

bool ruled_text(const Value& value, std::string_view text) {
  if (text.empty() && value.zero_too) return true;
  if (!is_ascii(text)) return is_utf8(text) && by_rules(value, text);
  if (text.size() < value.low || text.size() > value.high) return false;
  switch (value.chars) {
    case Chars::any:
      return true;
    case Chars::header_name:
      if (text.starts_with(':')) text.remove_prefix(1);
      return !text.empty() && all_of(kHeaderName, text);
    case Chars::no_line_end:
      return all_of(kNoLineEnd, text);
  }
  return false;
}

[[gnu::always_inline]] inline bool integer(const Value& value, uint64_t number) {
  if (value.kind == Kind::choice) return number < value.choice->size() && (*value.choice)[number];
  if (value.kind != Kind::integer) return false;
  const uint64_t key = number ^ value.flip;
  return (key >= value.low && key <= value.high) || (number == 0 && value.zero_too);
}

bool real(const Value& value, double number) {
  return (number >= value.low_real && number <= value.high_real) || (number == 0 && value.zero_too);
}

// What is left of a message. Only the encodings that serialisers write are taken: others may mean nothing to some parser.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  bool empty() const { return at_ == end_; }

  [[gnu::always_inline]] bool take_tag(uint32_t& number, wire::Kind& kind) {
    uint32_t tag = byte();
    if (tag >= 0x80) {
      if (at_ == end_) return false;
      const uint32_t high = byte();
      if (high == 0 || high >= 0x80) return false;
      tag = (tag & 0x7f) | high << 7;
    }
    number = tag >> 3;
    kind = static_cast<wire::Kind>(tag & 7);
    return true;
  }

  [[gnu::always_inline]] bool take_varint(uint64_t& out) {
    if (at_ == end_) return false;
    out = byte();
    if (out < 0x80) return true;
    out &= 0x7f;
    for (unsigned shift = 7; shift < 64 && at_ != end_; shift += 7) {
      const uint64_t next = byte();
      if (next == 0 || (shift == 63 && next > 1)) return false;
      out |= (next & 0x7f) << shift;
      if (next < 0x80) return true;
    }
    return false;
  }

  [[gnu::always_inline]] bool take(size_t size, std::string_view& out) {
    if (size > static_cast<size_t>(end_ - at_)) return false;
    out = {at_, size};
    at_ += size;
    return true;
  }

  [[gnu::always_inline]] bool take_content(std::string_view& out) {
    uint64_t size = 0;
    return take_varint(size) && take(size, out);
  }

 private:
  uint32_t byte() { return static_cast<unsigned char>(*at_++); }
  const char* at_;
  const char* end_;
};

class Walk {
 public:
  explicit Walk(Tables& tables) : tables_(tables) {}
  bool message(Table& table, std::string_view bytes, int depth);

 private:
  bool take(const Value& value, wire::Kind kind, Bytes& bytes, int depth);
  bool content(const Value& value, std::string_view bytes, int depth);
  bool any(std::string_view bytes, int depth);
  bool entry(const Entry& entry, std::string_view bytes, int depth);
  static bool duration(const Value& value, std::string_view bytes);
  bool wrapper(const Value& inner, std::string_view bytes);
  static bool packed(const Value& value, std::string_view bytes, uint64_t& count);

  Tables& tables_;
};

// One value behind its tag.
[[gnu::always_inline]] inline bool Walk::take(const Value& value, wire::Kind kind, Bytes& bytes, int depth) {
  std::string_view raw;
  switch (kind) {
    case wire::Kind::varint: {
      uint64_t number = 0;
      return bytes.take_varint(number) && integer(value, number);
    }
    case wire::Kind::fixed64:
      if (!bytes.take(8, raw)) return false;
      return value.kind == Kind::any_fixed64 ||
             (value.kind == Kind::real64 &&
              real(value, std::bit_cast<double>(read_little_endian<uint64_t>(raw.data()))));
    case wire::Kind::fixed32:
      if (!bytes.take(4, raw)) return false;
      return value.kind == Kind::any_fixed32 ||
             (value.kind == Kind::real32 &&
              real(value, std::bit_cast<float>(read_little_endian<uint32_t>(raw.data()))));
    case wire::Kind::bytes:
      return bytes.take_content(raw) && content(value, raw, depth);
  }
  return false;  // a group
}

bool Walk::content(const Value& value, std::string_view bytes, int depth) {
  switch (value.kind) {
    case Kind::text:
      return is_utf8(bytes);
    case Kind::ruled_text:
      return ruled_text(value, bytes);
    case Kind::odd_text:
      return is_utf8(bytes) && by_rules(value, bytes);
    case Kind::octets:
      return (bytes.size() >= value.low && bytes.size() <= value.high) || (bytes.empty() && value.zero_too);
    case Kind::message:
      return message(*value.table, bytes, depth + 1);
    case Kind::duration:
      return duration(value, bytes);
    case Kind::wrapper:
      return wrapper(*value.inner, bytes);
    case Kind::any:
      return any(bytes, depth + 1);
    case Kind::map:
      return entry(*value.entry, bytes, depth + 1);
    default:  // which have no length
      return false;
  }
}

bool Walk::duration(const Value& value, std::string_view bytes) {
  uint64_t parts[2] = {};  // seconds, nanoseconds
  uint32_t last = 0, number = 0;
  wire::Kind kind{};
  for (Bytes rest(bytes); !rest.empty(); last = number) {
    if (!rest.take_tag(number, kind) || kind != wire::Kind::varint) return false;
    if (number <= last || number > 2 || !rest.take_varint(parts[number - 1])) return false;
  }
  constexpr uint64_t kSecond = 1'000'000'000;
  if (parts[0] > UINT64_MAX / kSecond / 2 || parts[1] >= kSecond) return false;
  const uint64_t all = parts[0] * kSecond + parts[1];
  return all >= value.low && all <= value.high;
}

bool Walk::wrapper(const Value& inner, std::string_view bytes) {
  if (bytes.empty()) {
    switch (inner.kind) {
      case Kind::integer:
      case Kind::choice:
        return integer(inner, 0);
      case Kind::any_fixed64:
      case Kind::any_fixed32:
        return true;
      case Kind::real64:
      case Kind::real32:
        return real(inner, 0);
      default:
        return content(inner, {}, 0);
    }
  }
  Bytes rest(bytes);
  uint32_t number = 0;
  wire::Kind kind{};
  return rest.take_tag(number, kind) && number == 1 && take(inner, kind, rest, 0) && rest.empty();
}

// Numbers, one or more.
bool Walk::packed(const Value& value, std::string_view bytes, uint64_t& count) {
  uint64_t number = 0;
  for (Bytes rest(bytes); !rest.empty(); ++count)
    if (!rest.take_varint(number) || !integer(value, number)) return false;
  return count > 0;
}

bool Walk::any(std::string_view bytes, int depth) {
  std::string_view parts[2];  // type URL, content
  uint32_t last = 0, number = 0;
  wire::Kind kind{};
  for (Bytes rest(bytes); !rest.empty(); last = number) {
    if (!rest.take_tag(number, kind) || kind != wire::Kind::bytes) return false;
    if (number <= last || number > 2 || !rest.take_content(parts[number - 1])) return false;
  }
  if (parts[0].empty() || !is_utf8(parts[0])) return false;
  Table* const table = tables_.of_content(parts[0]);
  return table != nullptr && message(*table, parts[1], depth + 1);
}

// Of a map: both key and value, which serialisers always write.
bool Walk::entry(const Entry& entry, std::string_view bytes, int depth) {
  Bytes rest(bytes);
  for (uint32_t part = 1; part <= 2; ++part) {
    uint32_t number = 0;
    wire::Kind kind{};
    if (rest.empty() || !rest.take_tag(number, kind) || number != part) return false;
    if (!take(part == 1 ? entry.key : entry.value, kind, rest, depth)) return false;
  }
  return rest.empty();
}

bool Walk::message(Table& table, std::string_view bytes, int depth) {
  if (depth > kMaxDepth) return false;
  if (!table.made) tables_.make(table);
  if (table.never) return false;
  uint64_t seen = 0;
  uint64_t counts[Table::kMaxCounts];
  const size_t counted = table.counts.size();
  std::fill_n(counts, counted, 0);
  for (Bytes rest(bytes); !rest.empty();) {
    uint32_t number = 0;
    wire::Kind kind{};
    if (!rest.take_tag(number, kind) || number >= table.places.size()) return false;
    const Field& field = table.fields[table.places[number]];
    if ((seen & field.excludes) != 0) return false;
    seen |= field.bit;
    uint64_t count = field.packed ? 0 : 1;
    if (field.packed) {
      std::string_view numbers;
      if (kind != wire::Kind::bytes || !rest.take_content(numbers) || !packed(field.value, numbers, count))
        return false;
    } else if (!take(field.value, kind, rest, depth)) {
      return false;
    }
    if (field.count != Field::kNoCount && (counts[field.count] += count) > table.counts[field.count].most)
      return false;
  }
  if ((seen & table.required) != table.required) return false;
  for (const uint64_t some : table.one_of_required)
    if ((seen & some) == 0) return false;
  for (size_t i = 0; i < counted; ++i)
    if (counts[i] != 0 && counts[i] < table.counts[i].least) return false;
  return true;
}

}  // namespace

struct PlainlyValid::Impl {
  explicit Impl(const HonouredFields& lists) : tables(lists) {}
  std::mutex mutex;
  Tables tables;
};

PlainlyValid::PlainlyValid(const HonouredFields& lists) : impl_(std::make_unique<Impl>(lists)) {}

PlainlyValid::~PlainlyValid() = default;

bool PlainlyValid::operator()(const pb::Descriptor& type, std::string_view bytes) const {
  if (is_value(type)) return false;
  std::lock_guard lock(impl_->mutex);
  return Walk(impl_->tables).message(impl_->tables.of(type), bytes, 0);
}

Status check(const pb::Message& message, const HonouredFields& honoured, const FieldPath& path,
             std::string_view bytes) {
  const pb::Descriptor& type = *message.GetDescriptor();
  if (!bytes.empty() && honoured.plainly_valid()(type, bytes)) return {};
  const std::string serialised = message.SerializePartialAsString();
  if (bytes.empty() && honoured.plainly_valid()(type, serialised)) return {};
  SLUICE_TRY(validate(message, path));
  return honoured.check(type, serialised, path);
}

}  // namespace sluice::config
