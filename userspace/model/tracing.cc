#include "model/tracing.h"

#include <cstdio>

#include "core/json.h"
#include "model/metadata.h"
#include "model/route.h"

namespace sluice::model {
namespace {

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

std::string route_metadata(std::string_view name, const ext::StreamInfo& info) {
  if (!info.http || !info.http->route) return {};
  for (const auto& [key, text] : *info.http->route->metadata_text)
    if (key == name) return text;
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
      if (const auto found = metadata_value(info.dynamic_metadata.get(), name, path)) out = text_of(*found);
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
