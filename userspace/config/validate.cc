#include "config/validate.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "config/any.h"
#include "config/protos.h"
#include "config/rules.h"
#include "config/tree.h"
#include "validate/validate.pb.h"

namespace sluice::config {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

namespace {

// What there is to check in one message type.
struct Plan {
  struct Item {
    const Field* field;
    const validate::FieldRules* rules;  // null: only what is inside
    bool inside;                        // messages, with rules of their own
    std::string absent;                 // what is wrong where the field is not set; "": nothing
  };
  std::vector<Item> items;
  std::vector<const pb::OneofDescriptor*> required_oneofs;
};

Plan make_plan(const pb::Descriptor& type) {
  Plan plan;
  if (type.options().GetExtension(validate::disabled) || type.options().GetExtension(validate::ignored))
    return plan;
  for (int i = 0; i < type.field_count(); ++i) {
    const Field& f = *type.field(i);
    const auto* rules = rules::of(f);
    const Field& value = f.is_map() ? *f.message_type()->map_value() : f;
    const bool skipped = rules != nullptr && rules->message().skip();
    const bool inside = value.cpp_type() == Field::CPPTYPE_MESSAGE && !skipped;
    if (rules == nullptr && !inside) continue;
    plan.items.push_back(
        {.field = &f, .rules = rules, .inside = inside, .absent = rules::check_absent(rules, f)});
  }
  for (int i = 0; i < type.real_oneof_decl_count(); ++i)
    if (type.oneof_decl(i)->options().GetExtension(validate::required))
      plan.required_oneofs.push_back(type.oneof_decl(i));
  return plan;
}

// Made once a type, kept for good. Each thread remembers those that it has asked for: a push has hundreds of thousands
// of messages of a few types.
const Plan& plan_of(const pb::Descriptor& type) {
  thread_local std::unordered_map<const pb::Descriptor*, const Plan*> known;
  const Plan*& mine = known[&type];
  if (mine != nullptr) return *mine;
  static std::mutex mutex;
  static auto& plans = *new std::unordered_map<const pb::Descriptor*, std::unique_ptr<const Plan>>;
  std::lock_guard lock(mutex);
  auto& plan = plans[&type];
  if (!plan) plan = std::make_unique<const Plan>(make_plan(type));
  return *(mine = plan.get());
}

// Which fields of a message are set. Messages have many fields and few that are: a list of those costs less than
// questions. Its memory is used again by the next message at the same depth.
class SetFields {
 public:
  SetFields(const pb::Message& message, size_t depth) {
    thread_local std::deque<Memory> by_depth;
    if (depth >= by_depth.size()) by_depth.resize(depth + 1);
    memory_ = &by_depth[depth];
    memory_->set.clear();
    message.GetReflection()->ListFields(message, &memory_->set);
    memory_->is_set.assign(static_cast<size_t>(message.GetDescriptor()->field_count()), 0);
    for (const Field* f : memory_->set)
      if (!f->is_extension()) memory_->is_set[static_cast<size_t>(f->index())] = 1;
  }
  bool has(const Field& f) const { return memory_->is_set[static_cast<size_t>(f.index())] != 0; }

 private:
  struct Memory {
    std::vector<const Field*> set;
    std::vector<char> is_set;
  };
  Memory* memory_;
};

Error wrong(const FieldPath& path, const std::string& what) {
  return Error{path.error(what)};
}

const validate::FieldRules kNoRules;

Status check_message(const pb::Message& value, const validate::FieldRules* rules, bool inside,
                     const FieldPath& path) {
  if (std::string what = rules::check_well_known(rules != nullptr ? *rules : kNoRules, value); !what.empty())
    return wrong(path, what);
  return inside ? validate(value, path) : Status();
}

Status check_repeated(const pb::Message& m, const Plan::Item& item, const FieldPath& path) {
  const Field& f = *item.field;
  const pb::Reflection& r = *m.GetReflection();
  const int size = r.FieldSize(m, &f);
  static const validate::RepeatedRules kNone;
  const auto& rules = item.rules != nullptr ? item.rules->repeated() : kNone;
  if (rules.has_min_items() && static_cast<uint64_t>(size) < rules.min_items())
    return wrong(path, rules::at_least(rules.min_items(), "item(s)"));
  if (rules.has_max_items() && static_cast<uint64_t>(size) > rules.max_items())
    return wrong(path, "value must contain no more than " + std::to_string(rules.max_items()) + " item(s)");
  const bool messages = f.cpp_type() == Field::CPPTYPE_MESSAGE;
  const bool unique = rules.unique();
  std::unordered_set<std::string> seen;
  for (int i = 0; i < size; ++i) {
    const FieldPath at = path.item(static_cast<size_t>(i));
    if (messages) {
      const bool skip = rules.items().message().skip();
      SLUICE_TRY(check_message(r.GetRepeatedMessage(m, &f, i), rules.has_items() ? &rules.items() : nullptr,
                               item.inside && !skip, at));
    } else if (rules.has_items()) {
      if (std::string what = rules::check_scalar(rules.items(), m, f, i); !what.empty())
        return wrong(at, what);
    }
    if (unique) {
      std::string text;
      if (messages) {
        text = r.GetRepeatedMessage(m, &f, i).SerializePartialAsString();
      } else if (f.cpp_type() == Field::CPPTYPE_STRING) {
        text = r.GetRepeatedString(m, &f, i);
      } else {
        pb::TextFormat::PrintFieldValueToString(m, &f, i, &text);
      }
      if (!seen.insert(text).second) return wrong(at, "repeated value must contain unique items");
    }
  }
  return {};
}

Status check_map(const pb::Message& m, const Plan::Item& item, const FieldPath& path) {
  const Field& f = *item.field;
  const pb::Reflection& r = *m.GetReflection();
  const int size = r.FieldSize(m, &f);
  static const validate::MapRules kNone;
  const auto& rules = item.rules != nullptr ? item.rules->map() : kNone;
  if (rules.has_min_pairs() && static_cast<uint64_t>(size) < rules.min_pairs())
    return wrong(path, rules::at_least(rules.min_pairs(), "pair(s)"));
  if (rules.has_max_pairs() && static_cast<uint64_t>(size) > rules.max_pairs())
    return wrong(path, "value must contain no more than " + std::to_string(rules.max_pairs()) + " pair(s)");
  const Field& key_field = *f.message_type()->map_key();
  const Field& value_field = *f.message_type()->map_value();
  const bool messages = value_field.cpp_type() == Field::CPPTYPE_MESSAGE;
  if (!rules.has_keys() && !rules.has_values() && !messages) return {};
  for (int i = 0; i < size; ++i) {
    const pb::Message& pair = r.GetRepeatedMessage(m, &f, i);
    std::string key;
    pb::TextFormat::PrintFieldValueToString(pair, &key_field, -1, &key);
    if (key.size() >= 2 && key.front() == '"') key = key.substr(1, key.size() - 2);
    const FieldPath at = path.key(key);
    if (rules.has_keys())
      if (std::string what = rules::check_scalar(rules.keys(), pair, key_field, -1); !what.empty())
        return wrong(at, "key: " + what);
    if (messages) {
      const bool skip = rules.values().message().skip();
      SLUICE_TRY(check_message(pair.GetReflection()->GetMessage(pair, &value_field),
                               rules.has_values() ? &rules.values() : nullptr, item.inside && !skip, at));
    } else if (rules.has_values()) {
      if (std::string what = rules::check_scalar(rules.values(), pair, value_field, -1); !what.empty())
        return wrong(at, what);
    }
  }
  return {};
}

Status check_singular(const pb::Message& m, const Plan::Item& item, const FieldPath& path) {
  const Field& f = *item.field;
  const pb::Reflection& r = *m.GetReflection();
  if (f.cpp_type() == Field::CPPTYPE_MESSAGE)
    return check_message(r.GetMessage(m, &f), item.rules, item.inside, path);
  if (std::string what = rules::check_scalar(*item.rules, m, f, -1); !what.empty()) return wrong(path, what);
  return {};
}

Status validate_any(const pb::Any& any, const FieldPath& path) {
  const std::string& url = any.type_url();
  const pb::Descriptor* type = find_message_type(std::string_view(url).substr(url.rfind('/') + 1));
  if (type == nullptr) return {};  // whoever unpacks it refuses it
  const MessagePtr content = content_of(any, *type);
  if (!content) return wrong(path, "the bytes are not a " + type->full_name());
  return validate(*content, path);
}

}  // namespace

Status validate(const pb::Message& message, const FieldPath& path) {
  if (path.depth() > 3 * kMaxDepth) return wrong(path, "nested too deep");
  const pb::Descriptor& type = *message.GetDescriptor();
  if (type.well_known_type() == pb::Descriptor::WELLKNOWNTYPE_ANY)
    return validate_any(static_cast<const pb::Any&>(message), path);
  if (type.well_known_type() != pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED) return {};
  const Plan& plan = plan_of(type);
  if (plan.items.empty() && plan.required_oneofs.empty()) return {};
  const SetFields set(message, path.depth());
  for (const Plan::Item& item : plan.items) {
    const bool here = set.has(*item.field);
    if (!here && item.absent.empty()) continue;
    const FieldPath at = path.field(item.field->name());
    if (!here) return wrong(at, item.absent);
    if (item.field->is_map()) {
      SLUICE_TRY(check_map(message, item, at));
    } else if (item.field->is_repeated()) {
      SLUICE_TRY(check_repeated(message, item, at));
    } else {
      SLUICE_TRY(check_singular(message, item, at));
    }
  }
  for (const auto* oneof : plan.required_oneofs) {
    if (message.GetReflection()->HasOneof(message, oneof)) continue;
    std::string names;
    for (int i = 0; i < oneof->field_count(); ++i) names += (i > 0 ? ", " : "") + oneof->field(i)->name();
    return wrong(path, oneof->name() + ": value is required (one of " + names + ")");
  }
  return {};
}

}  // namespace sluice::config
