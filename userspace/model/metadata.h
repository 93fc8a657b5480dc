#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "sluice/ext/stream_info.h"

namespace sluice::model {

// What stands at `path` (not empty) below a filter's namespace; nothing: no such value. `metadata` may be null.
std::optional<Json> metadata_value(const ext::Metadata* metadata, std::string_view filter,
                                   const std::vector<std::string>& path);

}  // namespace sluice::model
