#include "model/scoped_routes.h"

#include <optional>

namespace sluice::model {
namespace {

std::optional<std::string_view> extract(const ScopeKeyFragment& part, std::string_view value) {
  const std::string& separator = part.element_separator;
  uint32_t index = 0;
  for (;;) {
    const size_t end = separator.empty() ? std::string_view::npos : value.find(separator);
    const std::string_view element = value.substr(0, end);
    if (const auto* wanted = std::get_if<uint32_t>(&part.element)) {
      if (index == *wanted) return element;
    } else {
      const auto& pair = std::get<ScopeKeyFragment::Pair>(part.element);
      const size_t at = element.find(pair.separator);
      if (element.substr(0, at) == pair.key)
        return at == std::string_view::npos ? std::string_view() : element.substr(at + pair.separator.size());
    }
    if (end == std::string_view::npos) return std::nullopt;
    value.remove_prefix(end + separator.size());
    ++index;
  }
}

}  // namespace

void add_to_scope_key(std::string_view fragment, std::string& key) {
  key += std::to_string(fragment.size());
  key += ':';
  key += fragment;
}

bool make_scope_key(const std::vector<ScopeKeyFragment>& parts, const http::HeaderMap& headers,
                    std::string& key) {
  key.clear();
  for (const ScopeKeyFragment& part : parts) {
    const http::HeaderMap::Field* field = headers.find(part.header);
    if (field == nullptr) return false;
    const auto fragment = extract(part, field->value);
    if (!fragment) return false;
    add_to_scope_key(*fragment, key);
  }
  return true;
}

}  // namespace sluice::model
