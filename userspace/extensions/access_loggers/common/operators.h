#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "extensions/access_loggers/common/time_format.h"
#include "sluice/ext/stream_info.h"

// Envoy's substitution commands ("%BYTES_SENT%", "%START_TIME(%s)%", "%REQ(X-A?X-B):10%").
// https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/substitution_formatter
namespace sluice::access_loggers {

enum class OperatorKind : uint8_t;  // operator_kind.h
enum class AddressPart : uint8_t { whole, ip, port };

struct Operator {
  OperatorKind kind;
  bool numeric = false;       // a JSON number, where it has a value
  uint32_t max_length = ~0u;  // bytes; from ":Z"
  AddressPart address_part = AddressPart::whole;
  int16_t prefix_length = -1;  // addresses as "10.0.0.0/8"; -1: no mask
  uint8_t begin = 0, end = 0;  // COMMON_DURATION: TimePoint
  int64_t unit = 1'000'000;    // durations: nanoseconds to one
  uint8_t choice = 0;  // of the enums in operator_kind.h, by kind
  uint8_t source = 0;  // Source
  bool no_query = false;  // PATH(NQ)
  bool decoded = false;  // QUERY_PARAMS(DECODED)
  bool keep_blanks = false;  // RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)
  // Literals, and values that never change (HOSTNAME, ENVIRONMENT); a header in lower case; a parameter.
  std::string text, alternative;
  std::shared_ptr<const TimeFormat> time;
  std::vector<Operator> operators;  // COALESCE

  bool is_literal() const;
  // Appends the value and returns true, or appends nothing and returns false: there is none (Envoy's "-").
  bool append(const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const;
  // The same as a JSON value, quoted where it is text.
  bool append_json(const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const;
};

// Splits a format into literals and operators. Errors say at which character.
Result<std::vector<Operator>> parse_format(std::string_view format);

}  // namespace sluice::access_loggers
