#include "model/subsets.h"

#include <algorithm>

namespace sluice::model {

const LbMetadata::Field* LbMetadata::find(std::string_view key) const {
  const auto found = std::ranges::lower_bound(fields, key, {}, &Field::key);
  return found != fields.end() && found->key == key ? &*found : nullptr;
}

bool has_criteria(const LbMetadata* metadata, const ext::MetadataMatch::Criteria& criteria,
                  bool list_as_any) {
  return std::ranges::all_of(criteria, [&](const auto& pair) {
    const LbMetadata::Field* field = metadata != nullptr ? metadata->find(pair.first) : nullptr;
    if (field == nullptr) return false;
    if (field->list && list_as_any)
      return std::ranges::find(field->elements, pair.second) != field->elements.end();
    return field->value == pair.second;
  });
}

bool SubsetConfig::falls_back_on(Fallback f) const {
  return fallback == f || std::ranges::any_of(selectors, [&](const Selector& s) { return s.fallback == f; });
}

}  // namespace sluice::model
