// HeaderRules::apply: what request_headers_to_add and its siblings do.
#include <string>
#include <vector>

#include "model/route.h"

namespace sluice::model {
namespace {

using http::Name;

// Adds one more value. Fields that the proxy knows by name stay one field, as in Envoy, whose map joins them; of the
// others, and of set-cookie (RFC 6265 section 3), there may be several.
void add_value(http::HeaderMap& headers, const std::string& name, std::string_view value) {
  const Name id = http::find_name(name);
  if (id == Name::other || id == Name::set_cookie) return headers.add(std::string_view(name), value);
  headers.append(id, value, id == Name::cookie ? "; " : ",");
}

// The values of one run, made before any is written: a formatter sees the headers as they came. The memory stays with
// the thread.
struct Scratch {
  struct Value {
    const HeaderRules::Add* rule;
    size_t begin, end;
  };
  std::string text;
  std::vector<Value> values;
};

bool applies(const HeaderRules::Add& rule, const http::HeaderMap& headers) {
  using Append = HeaderRules::Append;
  if (rule.append == Append::add_if_absent) return !headers.has(std::string_view(rule.name));
  if (rule.append == Append::overwrite_if_exists) return headers.has(std::string_view(rule.name));
  return true;
}

bool overwrites(HeaderRules::Append how) {
  return how == HeaderRules::Append::overwrite_if_exists ||
         how == HeaderRules::Append::overwrite_if_exists_or_add;
}

}  // namespace

void HeaderRules::apply(http::HeaderMap& headers, const ext::StreamInfo& info) const {
  for (const std::string& name : remove) headers.remove(std::string_view(name));
  if (add.empty()) return;
  static thread_local Scratch scratch;
  scratch.text.clear();
  scratch.values.clear();
  for (const Add& rule : add) {
    const size_t begin = scratch.text.size();
    if (rule.formatter != nullptr) {
      rule.formatter->format(info, scratch.text);
    } else {
      scratch.text += rule.literal;
    }
    if (scratch.text.size() == begin && !rule.keep_empty) continue;
    if (applies(rule, headers)) scratch.values.push_back({&rule, begin, scratch.text.size()});
  }
  auto value = [&](const Scratch::Value& v) {
    return std::string_view(scratch.text).substr(v.begin, v.end - v.begin);
  };
  for (const auto& v : scratch.values)
    if (overwrites(v.rule->append)) headers.set(std::string_view(v.rule->name), value(v));
  for (const auto& v : scratch.values)
    if (!overwrites(v.rule->append)) add_value(headers, v.rule->name, value(v));
}

}  // namespace sluice::model
