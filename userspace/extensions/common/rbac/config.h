#pragma once

#include <string_view>
#include <vector>

#include "core/result.h"
#include "extensions/common/rbac/engine.h"
#include "sluice/ext/honoured.h"

namespace envoy::config::rbac::v3 {
class RBAC;
}

namespace sluice::extensions::rbac {

// `http`: false refuses rules on headers, as Envoy's network filter does. `path` is the message's own place.
Result<EnginePtr> to_engine(const envoy::config::rbac::v3::RBAC& in, bool http, std::string_view path);

// The field lists of envoy.config.rbac.v3, for the filters that take it.
std::vector<ext::Honoured> honoured_rules();

}  // namespace sluice::extensions::rbac
