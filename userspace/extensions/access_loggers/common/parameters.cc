#include "extensions/access_loggers/common/parameters.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <utility>

#include "core/ascii.h"
#include "core/json.h"
#include "extensions/access_loggers/common/commands.h"

namespace sluice::access_loggers {
namespace {

using K = OperatorKind;

TimePoint time_point(std::string_view name) {
  constexpr std::pair<std::string_view, TimePoint> kPoints[] = {
      {"DS_CX_BEG", TimePoint::connection_begin},
      {"DS_CX_END", TimePoint::connection_end},
      {"DS_RX_BEG", TimePoint::stream_begin},
      {"DS_RX_END", TimePoint::request_received},
      {"US_CX_BEG", TimePoint::connect_begin},
      {"US_CX_END", TimePoint::connect_end},
      {"US_TX_BEG", TimePoint::upstream_send_begin},
      {"US_TX_END", TimePoint::upstream_send_end},
      {"US_RX_BEG", TimePoint::upstream_receive_begin},
      {"US_RX_BODY_BEG", TimePoint::upstream_receive_body_begin},
      {"US_RX_END", TimePoint::upstream_receive_end},
      {"DS_TX_BEG", TimePoint::downstream_send_begin},
      {"DS_TX_END", TimePoint::downstream_send_end},
  };
  for (auto& [text, point] : kPoints)
    if (text == name) return point;
  return TimePoint::unset;  // Envoy takes any other for a point that somebody sets at run time
}

// Splits at ":" into at most three; false: there are more.
bool split(std::string_view text, std::string_view (&parts)[3]) {
  for (auto& part : parts) {
    size_t colon = text.find(':');
    part = text.substr(0, colon);
    if (colon == text.npos) return true;
    text.remove_prefix(colon + 1);
  }
  return false;
}

// Where `text` stands in `names`; "" is the first.
std::optional<uint8_t> choose(std::string_view text, std::initializer_list<std::string_view> names) {
  if (text.empty()) return 0;
  auto it = std::find(names.begin(), names.end(), text);
  if (it == names.end()) return std::nullopt;
  return static_cast<uint8_t>(it - names.begin());
}

Error one_of(std::string_view given, std::initializer_list<std::string_view> names) {
  std::string message = "\"" + std::string(given) + "\" is not one of ";
  for (auto name : names) message += (name == *names.begin() ? "" : ", ") + std::string(name);
  return Error{message};
}

Status set_choice(uint8_t& to, std::string_view text, std::initializer_list<std::string_view> names) {
  auto found = choose(text, names);
  if (!found) return one_of(text, names);
  to = *found;
  return {};
}

Status set_duration(Operator& op, std::string_view params) {
  std::string_view parts[3];
  if (!split(params, parts) || params.find(':') == params.npos)
    return Error{"wants BEGIN:END or BEGIN:END:UNIT (ms, us, ns)"};
  op.begin = static_cast<uint8_t>(time_point(parts[0]));
  op.end = static_cast<uint8_t>(time_point(parts[1]));
  uint8_t unit = 0;
  SLUICE_TRY(set_choice(unit, parts[2], {"ms", "us", "ns"}));
  constexpr int64_t kNanoseconds[] = {1'000'000, 1'000, 1};
  op.unit = kNanoseconds[unit];
  return {};
}

// "X-A" or "X-A?X-B".
Status set_header(Operator& op, std::string_view params) {
  size_t mark = params.find('?');
  if (mark != params.npos && params.find('?', mark + 1) != params.npos)
    return Error{"names more than one alternative header"};
  if (params.find_first_of(" \t\r\n") != params.npos) return Error{"no header has blanks in its name"};
  op.text = to_lower(params.substr(0, mark));
  if (mark != params.npos) op.alternative = to_lower(params.substr(mark + 1));
  return {};
}

Status set_path(Operator& op, std::string_view params) {
  std::string_view parts[3];
  split(params, parts);
  uint8_t query = 0;
  SLUICE_TRY(set_choice(query, parts[0], {"WQ", "NQ"}));
  op.no_query = query == 1;
  return set_choice(op.source, parts[1], {"ORIG_OR_PATH", "ORIG", "PATH"});
}

Status set_server_name(Operator& op, std::string_view params) {
  std::string_view parts[3];
  split(params, parts);
  SLUICE_TRY(set_choice(op.choice, parts[0], {"SNI_ONLY", "SNI_FIRST", "HOST_FIRST"}));
  return set_choice(op.source, parts[1], {"ORIG_OR_HOST", "ORIG", "HOST"});
}

Status set_filter_state(Operator& op, std::string_view params) {
  std::string_view parts[3];
  split(params, parts);
  if (parts[0].empty()) return Error{"the key is missing"};
  SLUICE_TRY(set_choice(op.choice, parts[1], {"TYPED", "PLAIN", "FIELD"}));
  if ((op.choice == static_cast<uint8_t>(FilterStateFormat::field)) == parts[2].empty())
    return Error{"a field's name belongs to FIELD, and to that alone"};
  op.text = parts[0];
  return {};
}

Status set_metadata(Operator& op, std::string_view params) {
  size_t colon = params.find(':');
  std::string_view type = params.substr(0, colon);
  if (type != "ROUTE" && type != "DYNAMIC")
    return Error{"of METADATA's types this version of Sluice has ROUTE and DYNAMIC"};
  if (type == "DYNAMIC") op.kind = K::dynamic_metadata;
  if (type == "ROUTE" && (colon == params.npos || params.find(':', colon + 1) == params.npos))
    return Error{"wants ROUTE:NAMESPACE:KEY; a namespace as a whole is not kept"};
  op.text = colon == params.npos ? std::string_view{} : params.substr(colon + 1);
  return {};
}

// {"operators": ["NAME", {"command": "NAME", "param": "...", "max_length": 3}]}
Status set_coalesce(Operator& op, std::string_view params) {
  SLUICE_ASSIGN(const Json json, Json::parse(params));
  if (!json["operators"].is_array() || json["operators"].items().empty())
    return Error{"wants a JSON object with an array \"operators\" that is not empty"};
  for (const Json& item : json["operators"].items()) {
    Token token;
    token.name = item.is_string() ? item.as_string() : item["command"].as_string();
    token.params = item["param"].as_string();
    token.text = token.name;
    if (token.name.empty()) return Error{"each operator is a name, or an object with \"command\""};
    if (item.has("max_length")) {
      token.has_length = true;
      token.length = static_cast<uint32_t>(std::clamp<int64_t>(item["max_length"].as_int(), 0, ~0u));
    }
    auto made = make_operator(token);
    if (!made.ok()) return std::move(made).error().prefixed(token.name);
    op.operators.push_back(std::move(made).value());
  }
  return {};
}

Status configure(Operator& op, const Token& t) {
  switch (op.kind) {
    case K::start_time:
    case K::emit_time: {
      SLUICE_ASSIGN(auto time, TimeFormat::parse(t.params, t.name.ends_with("_LOCAL")));
      op.time = std::make_shared<const TimeFormat>(std::move(time));
      return {};
    }
    case K::downstream_tls:
    case K::upstream_tls: {
      SLUICE_ASSIGN(auto time, TimeFormat::parse(t.params, false));
      op.time = std::make_shared<const TimeFormat>(std::move(time));
      return {};
    }
    case K::common_duration:
      return set_duration(op, t.params);
    case K::request_header:
    case K::response_header:
    case K::response_trailer:
      return set_header(op, t.params);
    case K::query_param:
      op.text = t.params;
      return {};
    case K::query_params: {
      uint8_t decoded = 0;
      SLUICE_TRY(set_choice(decoded, t.params, {"ORIG", "DECODED"}));
      op.decoded = decoded == 1;
      return {};
    }
    case K::path:
      return set_path(op, t.params);
    case K::server_name:
      return set_server_name(op, t.params);
    case K::filter_state:
      return set_filter_state(op, t.params);
    case K::metadata:
      return set_metadata(op, t.params);
    case K::dynamic_metadata:
      op.text = t.params;
      return {};
    case K::coalesce:
      return set_coalesce(op, t.params);
    case K::grpc_status:
      if (t.name == "GRPC_STATUS_NUMBER")
        op.choice = static_cast<uint8_t>(GrpcFormat::number);
      else
        SLUICE_TRY(set_choice(op.choice, t.params, {"CAMEL_STRING", "SNAKE_STRING", "NUMBER"}));
      op.numeric = op.choice == static_cast<uint8_t>(GrpcFormat::number);
      return {};
    case K::response_code_details:
      op.keep_blanks = t.params == "ALLOW_WHITESPACES";  // anything else is ignored, as Envoy does
      return {};
    case K::literal:
      if (t.name == "HOSTNAME") {
        char name[256] = "";
        op.text = gethostname(name, sizeof name - 1) == 0 && *name ? name : "-";
      } else {
        const char* value = std::getenv(std::string(t.params).c_str());
        op.text = value ? value : "-";
      }
      return {};
    default:
      if (op.address_part == AddressPart::ip && !t.params.empty()) {
        int bits = -1;  // anything but a number is ignored, as Envoy does
        auto [end, error] = std::from_chars(t.params.data(), t.params.data() + t.params.size(), bits);
        if (error == std::errc{} && end == t.params.data() + t.params.size() && bits >= 0) {
          op.prefix_length = static_cast<int16_t>(std::min(bits, 128));
        }
      }
      return {};
  }
}

}  // namespace

Result<Operator> make_operator(const Token& t) {
  const Command* c = find_command(t.name);
  if (c == nullptr) {
    return Error{"is not a command that Sluice can fill in; take it out of the format"};
  }
  bool wants_params = c->syntax == Syntax::params || c->syntax == Syntax::params_length;
  bool takes_length = c->syntax == Syntax::optional_length || c->syntax == Syntax::params_length;
  if (wants_params && t.params.empty())
    return Error{"requires parameters, as in %" + std::string(t.name) + "(X)%"};
  if (c->syntax == Syntax::bare && !t.params.empty()) return Error{"takes no parameters"};
  if (!takes_length && t.has_length) return Error{"takes no length"};
  Operator op;
  op.kind = c->kind;
  op.numeric = c->numeric;
  op.max_length = t.length;
  op.address_part = c->part;
  op.choice = static_cast<uint8_t>(c->tls);
  SLUICE_TRY(configure(op, t));
  return op;
}

}  // namespace sluice::access_loggers
