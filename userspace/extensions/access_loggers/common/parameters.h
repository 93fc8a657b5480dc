#pragma once

#include <string_view>

#include "core/result.h"
#include "extensions/access_loggers/common/operators.h"

namespace sluice::access_loggers {

// One command as it stands in the text: %NAME(params):length%.
struct Token {
  std::string_view text, name, params;
  bool has_length = false;
  uint32_t length = ~0u;
};

// What stands for this command. The error is for the end of "%NAME(...)% at position N: ".
Result<Operator> make_operator(const Token& token);

}  // namespace sluice::access_loggers
