#pragma once

#include <cstdint>
#include <string_view>

#include "extensions/access_loggers/common/operator_kind.h"
#include "extensions/access_loggers/common/operators.h"

namespace sluice::access_loggers {

// What may follow a command's name, as Envoy checks it.
enum class Syntax : uint8_t { bare, params_optional, params, params_length, optional_length };

struct Command {
  std::string_view name;
  OperatorKind kind;
  Syntax syntax = Syntax::bare;
  bool numeric = false;
  AddressPart part = AddressPart::whole;
  TlsValue tls = TlsValue::version;
};

const Command* find_command(std::string_view name);  // nullptr: there is none

}  // namespace sluice::access_loggers
