#include "model/metadata.h"

namespace sluice::model {

std::optional<Json> metadata_value(const ext::Metadata* metadata, std::string_view filter,
                                   const std::vector<std::string>& path) {
  if (metadata == nullptr) return {};
  const auto fields = metadata->find(filter);
  if (fields == metadata->end()) return {};
  const auto field = fields->second.find(path.front());
  if (field == fields->second.end()) return {};
  auto json = Json::parse(field->second);
  if (!json.ok()) return {};
  const Json* at = &*json;
  for (size_t i = 1; i < path.size(); ++i) {
    if (!at->is_object() || !at->has(path[i])) return {};
    at = &(*at)[path[i]];
  }
  return at == &*json ? std::move(json).value() : Json(*at);
}

}  // namespace sluice::model
