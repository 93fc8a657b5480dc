#include "model/tracing.h"

#include <cstdio>

#include "core/json.h"
#include "model/route.h"

namespace sluice::model {
namespace {

// What stands before the next colon; `text` becomes what is behind it.
std::string_view take_part(std::string_view& text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view part = text.substr(0, colon);
  text.remove_prefix(std::min(colon + 1, text.size()));
  return part;
}

// As Envoy writes values of a Struct: a number with six digits, nothing for null.
std::string text_of(const Json& value) {
  switch (value.type()) {
    case Json::Type::null:
      return {};
    case Json::Type::string:
      return value.as_string();
    case Json::Type::integer:
    case Json::Type::number: {
      char text[32];
      const int n = std::snprintf(text, sizeof(text), "%g", value.as_double());
      return {text, static_cast<size_t>(n)};
    }
    default:
      return value.dump();
  }
}

std::string request_metadata(std::string_view path, const ext::StreamInfo& info) {
  if (!info.dynamic_metadata) return {};
  const auto fields = info.dynamic_metadata->find(take_part(path));
  if (fields == info.dynamic_metadata->end()) return {};
  const auto field = fields->second.find(take_part(path));
  if (field == fields->second.end()) return {};
  auto parsed = Json::parse(field->second);
  if (!parsed.ok()) return {};
  const Json* at = &*parsed;
  while (!path.empty()) {
    const std::string_view key = take_part(path);
    if (!at->is_object() || !at->has(key)) return {};
    at = &(*at)[key];
  }
  return text_of(*at);
}

std::string route_metadata(std::string_view path, const ext::StreamInfo& info) {
  if (!info.http || !info.http->route) return {};
  for (const auto& [key, text] : info.http->route->metadata_text)
    if (key == path) return text;
  return {};
}

}  // namespace

std::string CustomTag::value(const ext::StreamInfo& info) const {
  std::string out;
  switch (kind) {
    case Kind::literal:
      return text;
    case Kind::request_header:
      if (const http::HeaderMap* headers = info.http ? info.http->request_headers : nullptr) {
        // One that is there and empty is no reason to say something else.
        if (std::string_view value = headers->get(name); value.data() != nullptr) return std::string(value);
      }
      return text;
    case Kind::request_metadata:
      out = request_metadata(name, info);
      break;
    case Kind::route_metadata:
      out = route_metadata(name, info);
      break;
    case Kind::format:
      formatter->format(info, out);
      return out;
  }
  return out.empty() ? text : out;
}

}  // namespace sluice::model
