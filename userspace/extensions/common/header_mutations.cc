#include "extensions/common/header_mutations.h"

namespace sluice::extensions {
namespace {

using http::HeaderMap;
using Append = model::HeaderRules::Append;

// Fields that the proxy knows by name stay one, their values joined by a comma, as in Envoy's map.
void add_field(HeaderMap& headers, const std::string& name, std::string_view value) {
  const http::Name id = http::find_name(name);
  if (id == http::Name::other || id == http::Name::set_cookie)
    headers.add(std::string_view(name), value);
  else
    headers.append(id, value, id == http::Name::cookie ? "; " : ",");
}

void apply(const model::HeaderRules::Add& rule, HeaderMap& headers, const ext::StreamInfo& info) {
  const std::string value = value_of(rule.literal, rule.formatter.get(), info);
  if (value.empty() && !rule.keep_empty) return;
  const bool there = headers.has(std::string_view(rule.name));
  switch (rule.append) {
    case Append::append_if_exists_or_add:
      return add_field(headers, rule.name, value);
    case Append::add_if_absent:
      if (!there) headers.add(std::string_view(rule.name), value);
      return;
    case Append::overwrite_if_exists:
      if (there) headers.set(std::string_view(rule.name), value);
      return;
    case Append::overwrite_if_exists_or_add:
      return headers.set(std::string_view(rule.name), value);
  }
}

void apply(const Remove& rule, HeaderMap& headers, const ext::StreamInfo&) {
  headers.remove(std::string_view(rule.name));
}

void apply(const RemoveOnMatch& rule, HeaderMap& headers, const ext::StreamInfo&) {
  headers.remove_if([&](const HeaderMap::Field& f) { return rule.name.matches(f.name); });
}

}  // namespace

std::string value_of(const std::string& literal, const model::HeaderFormatter* formatter,
                     const ext::StreamInfo& info) {
  if (!formatter) return literal;
  std::string out;
  formatter->format(info, out);
  return out;
}

void apply(const std::vector<Mutation>& mutations, HeaderMap& headers, const ext::StreamInfo& info) {
  for (const Mutation& m : mutations) std::visit([&](const auto& rule) { apply(rule, headers, info); }, m);
}

}  // namespace sluice::extensions
