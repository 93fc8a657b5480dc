#pragma once

#include <optional>

#include "core/result.h"
#include "server/options.h"

namespace sluice {

// Parses the command line. Nothing: --help or --version was answered on standard output. The error names the flag.
Result<std::optional<server::Options>> parse_flags(int argc, char** argv);

}  // namespace sluice
