#include "config/honoured.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/any.h"
#include "config/plainly_valid.h"
#include "config/protos.h"
#include "config/yaml_json.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "sluice/ext/registry.h"

namespace sluice::config {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;
using envoy::config::route::v3::FilterConfig;
using pb::internal::WireFormatLite;

// Looks at a message's bytes: which fields are set is told there in a fraction of the time that reflection takes, and the
// bytes inside an Any need not become a message.
struct HonouredFields::Impl {
  // What a meaningless field holds is not looked into.
  enum class Mark : uint8_t { refused, honoured, meaningless };
  struct Listed {
    const Field* field;
    Mark mark;
  };
  struct List {
    std::vector<Listed> by_number;

    Listed* find(int number) {
      const auto it =
          std::ranges::lower_bound(by_number, number, {}, [](const Listed& l) { return l.field->number(); });
      return it == by_number.end() || it->field->number() != number ? nullptr : &*it;
    }
    const Listed* find(int number) const { return const_cast<List*>(this)->find(number); }
  };
  std::unordered_map<const pb::Descriptor*, List> lists;
  std::once_flag plainly_valid_made;
  std::optional<PlainlyValid> plainly_valid;

  Status check(const pb::Descriptor& type, std::string_view bytes, const FieldPath& path) const;
  Status check_field(const pb::Descriptor& type, const Listed& listed, std::string_view value, int index,
                     const FieldPath& at) const;
  Status check_any(const pb::Any& any, const FieldPath& path) const;
  Status check_filter_config(const FilterConfig& config, const FieldPath& path) const;
};

namespace {

[[noreturn]] void bug(std::string_view message, std::string_view field) {
  std::fprintf(stderr, "a list of honoured fields names %.*s.%.*s, which Envoy's API does not have\n",
               static_cast<int>(message.size()), message.data(), static_cast<int>(field.size()),
               field.data());
  std::abort();
}

// A field as it stands in a message's bytes.
struct Record {
  int number;
  WireFormatLite::WireType kind;
  std::string_view value;  // of a length-delimited one
  bool zero;  // the default of a scalar
};

// The next one; false: the end, or bytes that are no message's.
bool next_record(pb::io::CodedInputStream& in, std::string_view bytes, Record& out) {
  const uint32_t tag = in.ReadTag();
  if (tag == 0) return false;
  out.number = WireFormatLite::GetTagFieldNumber(tag);
  out.kind = WireFormatLite::GetTagWireType(tag);
  out.value = {};
  out.zero = false;
  switch (out.kind) {
    case WireFormatLite::WIRETYPE_VARINT: {
      uint64_t value = 0;
      if (!in.ReadVarint64(&value)) return false;
      out.zero = value == 0;
      return true;
    }
    case WireFormatLite::WIRETYPE_FIXED64: {
      uint64_t value = 0;
      if (!in.ReadLittleEndian64(&value)) return false;
      out.zero = value == 0;
      return true;
    }
    case WireFormatLite::WIRETYPE_FIXED32: {
      uint32_t value = 0;
      if (!in.ReadLittleEndian32(&value)) return false;
      out.zero = value == 0;
      return true;
    }
    case WireFormatLite::WIRETYPE_LENGTH_DELIMITED: {
      uint32_t size = 0;
      if (!in.ReadVarint32(&size)) return false;
      const auto at = static_cast<size_t>(in.CurrentPosition());
      if (size > bytes.size() - at || !in.Skip(static_cast<int>(size))) return false;
      out.value = bytes.substr(at, size);
      out.zero = size == 0;
      return true;
    }
    default:  // groups, which proto3 does not have
      return WireFormatLite::SkipField(&in, tag);
  }
}

// Whether a message's parser would take the record for this field's. Numbers in a list come one by one or packed.
bool fits(const Field& f, WireFormatLite::WireType kind) {
  const auto own = WireFormatLite::WireTypeForFieldType(static_cast<WireFormatLite::FieldType>(f.type()));
  return kind == own || (f.is_packable() && kind == WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

}  // namespace

bool is_value(const pb::Descriptor& type) {
  return type.well_known_type() != pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED ||
         type.full_name() == "google.protobuf.Empty";
}

HonouredFields::HonouredFields() : impl_(std::make_unique<Impl>()) {
  add_core_lists(*this);
}

HonouredFields::HonouredFields(const ext::Registry& registry) : HonouredFields() {
  registry.for_each_honoured([this](const ext::Honoured& list) { add(list); });
}

HonouredFields::~HonouredFields() = default;

void HonouredFields::add(const ext::Honoured& list) {
  assert(!impl_->plainly_valid && "lists are whole before anything is checked");
  const pb::Descriptor* type = find_message_type(list.message);
  if (type == nullptr) bug(list.message, "");
  auto& marks = impl_->lists[type];
  if (marks.by_number.empty()) {
    for (int i = 0; i < type->field_count(); ++i)
      marks.by_number.push_back({type->field(i), Impl::Mark::refused});
    std::ranges::sort(marks.by_number, {}, [](const Impl::Listed& l) { return l.field->number(); });
  }
  auto mark = [&](std::string_view name, Impl::Mark as) {
    const Field* f = type->FindFieldByName(std::string(name));
    if (f == nullptr) bug(list.message, name);
    marks.find(f->number())->mark = as;
  };
  if (list.fields == "*") {
    for (Impl::Listed& l : marks.by_number) l.mark = Impl::Mark::honoured;
  } else {
    std::string_view rest = list.fields;
    while (true) {
      const size_t begin = rest.find_first_not_of(" \n");
      if (begin == std::string_view::npos) break;
      const size_t end = std::min(rest.find_first_of(" \n", begin), rest.size());
      mark(rest.substr(begin, end - begin), Impl::Mark::honoured);
      rest.remove_prefix(end);
    }
  }
  for (const auto& m : list.meaningless) mark(m.field, Impl::Mark::meaningless);
}

Status HonouredFields::check(const pb::Message& message, const FieldPath& path) const {
  return check(*message.GetDescriptor(), message.SerializePartialAsString(), path);
}

Status HonouredFields::check(const pb::Descriptor& type, std::string_view serialised,
                             const FieldPath& path) const {
  return impl_->check(type, serialised, path);
}

bool HonouredFields::lists(const pb::Descriptor& type) const {
  return impl_->lists.contains(&type);
}

bool HonouredFields::lets_through(const Field& field) const {
  const auto known = impl_->lists.find(field.containing_type());
  if (known == impl_->lists.end()) return false;
  const Impl::Listed* listed = known->second.find(field.number());
  return listed != nullptr && listed->mark != Impl::Mark::refused;
}

const PlainlyValid& HonouredFields::plainly_valid() const {
  std::call_once(impl_->plainly_valid_made, [this] { impl_->plainly_valid.emplace(*this); });
  return *impl_->plainly_valid;
}

Status HonouredFields::Impl::check_any(const pb::Any& any, const FieldPath& path) const {
  SLUICE_ASSIGN(const auto content, unpack(any, path));
  const pb::Descriptor& type = *content->GetDescriptor();
  if (is_value(type)) return {};
  const std::string_view named = std::string_view(any.type_url()).substr(any.type_url().rfind('/') + 1);
  if (type.full_name() == named) return check(type, any.value(), path);
  return check(type, content->SerializePartialAsString(), path);  // what a TypedStruct describes
}

// A filter that is switched off or only on has no configuration, and one that is_optional may be unknown: both are what
// was asked for.
Status HonouredFields::Impl::check_filter_config(const FilterConfig& config, const FieldPath& path) const {
  if (config.disabled() || config.config().type_url().empty()) return {};
  const FieldPath at = path.field("config");
  const auto content = unpack(config.config(), at);
  if (config.is_optional() && (!content.ok() || !lists.contains((*content)->GetDescriptor()))) return {};
  return check_any(config.config(), at);
}

Status HonouredFields::Impl::check(const pb::Descriptor& type, std::string_view bytes,
                                   const FieldPath& path) const {
  if (&type == FilterConfig::descriptor() || type.well_known_type() == pb::Descriptor::WELLKNOWNTYPE_ANY) {
    const std::unique_ptr<pb::Message> message(prototype(type).New());
    if (!message->ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return Error{path.error("the bytes are not a " + type.full_name())};
    if (&type == FilterConfig::descriptor())
      return check_filter_config(static_cast<const FilterConfig&>(*message), path);
    return check_any(static_cast<const pb::Any&>(*message), path);
  }
  if (is_value(type)) return {};
  const auto known = lists.find(&type);
  if (known == lists.end())
    return Error{path.error("not supported by this version of Sluice (" + type.full_name() + "); remove it")};
  const List& list = known->second;

  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto size = static_cast<int>(bytes.size());
  pb::io::CodedInputStream all(data, size);
  Record record;
  while (next_record(all, bytes, record)) {
    const Listed* l = list.find(record.number);
    if (l != nullptr && fits(*l->field, record.kind)) continue;
    return Error{path.error("field number " + std::to_string(record.number) +
                            " is unknown to this version of Sluice (" + type.full_name() +
                            " of a newer API?)")};
  }
  if (!all.ConsumedEntireMessage()) return Error{path.error("the bytes are not a " + type.full_name())};

  pb::io::CodedInputStream in(data, size);
  int last = 0, index = 0;  // of a list's entries
  while (next_record(in, bytes, record)) {
    const Listed& listed = *list.find(record.number);
    const Field& f = *listed.field;
    if (record.zero && !f.has_presence() && !f.is_repeated()) continue;  // not set
    index = record.number == last ? index + 1 : 0;
    last = record.number;
    SLUICE_TRY(check_field(type, listed, record.value, index, path.field(f.name())));
  }
  return {};
}

Status HonouredFields::Impl::check_field(const pb::Descriptor& type, const Listed& listed,
                                         std::string_view value, int index, const FieldPath& at) const {
  const Field& f = *listed.field;
  if (listed.mark == Mark::meaningless) return {};
  if (listed.mark == Mark::refused) {
    std::string what = old_field_remedy(type, f.name());
    if (what.empty()) {
      what = "not supported by this version of Sluice; remove it";
      if (f.options().deprecated()) what += " (Envoy has deprecated it, too)";
    }
    return Error{at.error(what)};
  }
  if (f.cpp_type() != Field::CPPTYPE_MESSAGE) return {};
  if (!f.is_map()) {
    const pb::Descriptor& inner = *f.message_type();
    return f.is_repeated() ? check(inner, value, at.item(static_cast<size_t>(index)))
                           : check(inner, value, at);
  }
  const Field* inner = f.message_type()->map_value();
  if (inner->cpp_type() != Field::CPPTYPE_MESSAGE) return {};
  // An entry: the key is field 1, the value field 2.
  std::string_view key, content;
  pb::io::CodedInputStream entry(reinterpret_cast<const uint8_t*>(value.data()),
                                 static_cast<int>(value.size()));
  Record record;
  while (next_record(entry, value, record)) (record.number == 1 ? key : content) = record.value;
  const bool text = f.message_type()->map_key()->cpp_type() == Field::CPPTYPE_STRING;
  const std::string name = text ? std::string(key) : std::to_string(index);
  return check(*inner->message_type(), content, at.key(name));
}

}  // namespace sluice::config
