#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "validate/validate.pb.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
}  // namespace google::protobuf

namespace sluice::config {
class HonouredFields;
}

// What PlainlyValid walks by.
namespace sluice::config::plain {

// What a value is, and how it is looked at. Varints first, then what has a fixed size, then what has a length.
enum class Kind : uint8_t {
  never,  // nothing is plain
  integer,  // low..high, after `flip`
  choice,  // one of `choice`
  any_fixed64,
  any_fixed32,
  real64,  // low_real..high_real
  real32,
  text,  // UTF-8
  ruled_text,  // of `chars`, low..high bytes. What is not ASCII by `rules`
  odd_text,  // by `rules`
  octets,  // low..high bytes
  message,
  duration,  // low..high nanoseconds
  wrapper,  // `inner`, or nothing, which is zero
  any,
  map,
};

// Classes of characters; ASCII alone.
enum class Chars : uint8_t { any, header_name, no_line_end };

struct Table;
struct Entry;

struct Value {
  Kind kind = Kind::never;
  Chars chars = Chars::any;
  bool zero_too = false;  // zero and "" are right, whatever the bounds say
  uint64_t flip = 0;  // makes the order of unsigned numbers that of signed ones
  union {
    uint64_t low = 0;
    double low_real;
  };
  union {
    uint64_t high = UINT64_MAX;
    double high_real;
  };
  union {
    const validate::StringRules* rules = nullptr;
    Table* table;
    const Value* inner;
    const std::vector<bool>* choice;
    const Entry* entry;
  };
};

// Of a map.
struct Entry {
  Value key, value;
};

struct Field {
  static constexpr uint8_t kNoCount = 255;

  Value value;
  bool packed = false;  // a list of `value`
  uint8_t count = kNoCount;  // which one of Table::counts
  uint64_t bit = 0;  // its own among the fields that were seen
  uint64_t excludes = 0;  // not behind these: itself if it may come once, others of its oneof
};

// How many of a list there may be, where there are any.
struct Count {
  uint64_t least = 0, most = UINT64_MAX;
};

// One type of messages.
struct Table {
  static constexpr size_t kMaxFields = 64;
  static constexpr size_t kMaxCounts = 16;
  static constexpr uint32_t kMaxNumber = 2047;  // whose tag takes two bytes

  const google::protobuf::Descriptor* type = nullptr;
  bool made = false;
  bool never = false;  // no message of this type is plain
  std::vector<uint8_t> places;  // of `fields`, by number; 0: not among them
  std::vector<Field> fields;  // the first stands for all that are not plain
  std::vector<Count> counts;
  uint64_t required = 0;
  std::vector<uint64_t> one_of_required;
};

// Makes tables when they are needed first.
class Tables {
 public:
  explicit Tables(const HonouredFields& lists) : lists_(lists) {}
  Table& of(const google::protobuf::Descriptor& type);
  // What an Any holds; null: nothing that is plain.
  Table* of_content(std::string_view type_url);
  void make(Table& table);

 private:
  bool add(const google::protobuf::FieldDescriptor& field, Table& table);
  bool list(const google::protobuf::FieldDescriptor& field, const validate::FieldRules* rules, Table& table,
            Field& out);
  bool map(const google::protobuf::FieldDescriptor& field, const validate::FieldRules* rules, Table& table,
           Field& out);
  bool value(const google::protobuf::FieldDescriptor& field, const validate::FieldRules* rules, Value& out);
  bool choice(const google::protobuf::FieldDescriptor& field, const validate::FieldRules& rules, Value& out);
  bool message(const google::protobuf::Descriptor& type, const validate::FieldRules* rules, Value& out);

  const HonouredFields& lists_;
  std::unordered_map<const google::protobuf::Descriptor*, std::unique_ptr<Table>> by_type_;
  std::unordered_map<std::string_view, Table*> by_name_;  // names of descriptors, which stay
  std::vector<std::unique_ptr<const Value>> values_;
  std::vector<std::unique_ptr<const std::vector<bool>>> choices_;
  std::vector<std::unique_ptr<const Entry>> entries_;
};

}  // namespace sluice::config::plain
