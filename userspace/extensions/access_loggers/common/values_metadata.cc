#include "extensions/access_loggers/common/values_metadata.h"

#include <algorithm>
#include <string_view>

#include "core/json.h"
#include "core/json_string.h"

namespace sluice::access_loggers {
namespace {

// What stands before the next colon; `text` becomes what is behind it.
std::string_view take_part(std::string_view& text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view part = text.substr(0, colon);
  text.remove_prefix(std::min(colon + 1, text.size()));
  return part;
}

void append_namespace(const ext::Metadata::mapped_type& fields, std::string& out) {
  out += '{';
  bool first = true;
  for (const auto& [key, value] : fields) {
    if (!first) out += ',';
    first = false;
    append_json_string(key, out);
    out += ':';
    out += value;
  }
  out += '}';
}

}  // namespace

bool append_dynamic_metadata(const Operator& op, const ext::StreamInfo& info, bool json, std::string& out) {
  if (!info.dynamic_metadata) return false;
  std::string_view path = op.text;
  const auto fields = info.dynamic_metadata->find(take_part(path));
  if (fields == info.dynamic_metadata->end()) return false;
  if (path.empty()) {
    append_namespace(fields->second, out);
    return true;
  }
  const auto field = fields->second.find(take_part(path));
  if (field == fields->second.end()) return false;
  const std::string& text = field->second;
  if (path.empty() && (json || !text.starts_with('"'))) {
    out += text;
    return true;
  }
  if (path.empty() && text.find('\\') == text.npos) {  // a string as most are
    out.append(text, 1, text.size() - 2);
    return true;
  }
  auto parsed = Json::parse(text);
  if (!parsed.ok()) return false;
  const Json* at = &*parsed;
  while (!path.empty()) {
    const std::string_view key = take_part(path);
    if (!at->is_object() || !at->has(key)) return false;
    at = &(*at)[key];
  }
  out += !json && at->is_string() ? at->as_string() : at->dump();
  return true;
}

}  // namespace sluice::access_loggers
