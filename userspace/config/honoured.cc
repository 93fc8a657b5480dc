#include "config/honoured.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/any.h"
#include "config/protos.h"
#include "config/yaml_json.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "sluice/ext/registry.h"

namespace sluice::config {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;
using envoy::config::route::v3::FilterConfig;

struct HonouredFields::Impl {
  // By Field::index(). What a meaningless field holds is not looked into.
  enum class Mark : uint8_t { refused, honoured, meaningless };
  std::unordered_map<const pb::Descriptor*, std::vector<Mark>> lists;

  Status check(const pb::Message& message, const FieldPath& path) const;
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

// Messages without lists: their content is a value, not a set of features.
bool is_value(const pb::Descriptor& type) {
  return type.well_known_type() != pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED ||
         type.full_name() == "google.protobuf.Empty";
}

}  // namespace

HonouredFields::HonouredFields() : impl_(std::make_unique<Impl>()) {
  add_core_lists(*this);
}

HonouredFields::HonouredFields(const ext::Registry& registry) : HonouredFields() {
  registry.for_each_honoured([this](const ext::Honoured& list) { add(list); });
}

HonouredFields::~HonouredFields() = default;

void HonouredFields::add(const ext::Honoured& list) {
  const pb::Descriptor* type = find_message_type(list.message);
  if (type == nullptr) bug(list.message, "");
  auto& marks = impl_->lists[type];
  marks.resize(static_cast<size_t>(type->field_count()), Impl::Mark::refused);
  auto mark = [&](std::string_view name, Impl::Mark as) {
    const Field* f = type->FindFieldByName(std::string(name));
    if (f == nullptr) bug(list.message, name);
    marks[static_cast<size_t>(f->index())] = as;
  };
  if (list.fields == "*") {
    marks.assign(marks.size(), Impl::Mark::honoured);
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
  return impl_->check(message, path);
}

Status HonouredFields::Impl::check_any(const pb::Any& any, const FieldPath& path) const {
  SLUICE_ASSIGN(const auto content, unpack(any, path));
  if (is_value(*content->GetDescriptor())) return {};
  return check(*content, path);
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

Status HonouredFields::Impl::check(const pb::Message& message, const FieldPath& path) const {
  const pb::Descriptor& type = *message.GetDescriptor();
  if (&type == FilterConfig::descriptor())
    return check_filter_config(static_cast<const FilterConfig&>(message), path);
  if (type.well_known_type() == pb::Descriptor::WELLKNOWNTYPE_ANY)
    return check_any(static_cast<const pb::Any&>(message), path);
  if (is_value(type)) return {};
  const auto known = lists.find(&type);
  if (known == lists.end())
    return Error{path.error("not supported by this version of Sluice (" + type.full_name() + "); remove it")};
  const pb::Reflection& r = *message.GetReflection();
  if (const auto& unknown = r.GetUnknownFields(message); !unknown.empty())
    return Error{path.error("field number " + std::to_string(unknown.field(0).number()) +
                            " is unknown to this version of Sluice (" + type.full_name() +
                            " of a newer API?)")};
  std::vector<const Field*> set;
  r.ListFields(message, &set);
  for (const Field* f : set) {
    const FieldPath at = path.field(f->name());
    const Mark mark = known->second[static_cast<size_t>(f->index())];
    if (mark == Mark::meaningless) continue;
    if (mark == Mark::refused) {
      std::string what = old_field_remedy(type, f->name());
      if (what.empty()) {
        what = "not supported by this version of Sluice; remove it";
        if (f->options().deprecated()) what += " (Envoy has deprecated it, too)";
      }
      return Error{at.error(what)};
    }
    const Field& value = f->is_map() ? *f->message_type()->map_value() : *f;
    if (value.cpp_type() != Field::CPPTYPE_MESSAGE) continue;
    if (!f->is_repeated()) {
      SLUICE_TRY(check(r.GetMessage(message, f), at));
      continue;
    }
    for (int i = 0; i < r.FieldSize(message, f); ++i) {
      const pb::Message& item = r.GetRepeatedMessage(message, f, i);
      if (!f->is_map()) {
        SLUICE_TRY(check(item, at.item(static_cast<size_t>(i))));
        continue;
      }
      const Field* key = f->message_type()->map_key();
      const std::string name = key->cpp_type() == Field::CPPTYPE_STRING
                                   ? item.GetReflection()->GetString(item, key)
                                   : std::to_string(i);
      SLUICE_TRY(check(item.GetReflection()->GetMessage(item, &value), at.key(name)));
    }
  }
  return {};
}

}  // namespace sluice::config
