#pragma once

#include <string>

#include "extensions/access_loggers/common/operators.h"
#include "sluice/ext/tls_info.h"

namespace sluice::access_loggers {

// What `op` (downstream_tls, upstream_tls) asks of a connection; false: there is none.
bool append_tls_value(const Operator& op, const ext::TlsInfo& tls, std::string& out);

}  // namespace sluice::access_loggers
