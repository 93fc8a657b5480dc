#pragma once

#include <string>

#include "extensions/access_loggers/common/operators.h"

namespace sluice::access_loggers {

// %DYNAMIC_METADATA(NAMESPACE:KEY:...)%: what stands there, a string as it is and anything else as JSON (`json`: strings
// too). Without a key all of the namespace. False: nothing was set there.
bool append_dynamic_metadata(const Operator& op, const ext::StreamInfo& info, bool json, std::string& out);

}  // namespace sluice::access_loggers
