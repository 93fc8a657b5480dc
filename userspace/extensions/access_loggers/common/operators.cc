#include "extensions/access_loggers/common/operators.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <utility>

#include "extensions/access_loggers/common/operator_kind.h"

namespace sluice::access_loggers {
namespace {

using K = OperatorKind;

// What may follow a command's name, as Envoy checks it.
enum class Syntax : uint8_t { bare, params_optional, params, params_length, length };

struct Command {
  std::string_view name;
  K kind;
  Syntax syntax = Syntax::bare;
  bool numeric = false;
  AddressPart part = AddressPart::whole;
};

constexpr auto kIp = AddressPart::ip;
constexpr auto kPort = AddressPart::port;

// Values and syntax as real Envoy 1.40 has them for a TCP stream. What only HTTP or TLS can know is "absent"
// ("-").
constexpr Command kCommands[] = {
    {"START_TIME", K::start_time, Syntax::params_optional},
    {"START_TIME_LOCAL", K::start_time, Syntax::params_optional},
    {"EMIT_TIME", K::emit_time, Syntax::params_optional},
    {"EMIT_TIME_LOCAL", K::emit_time, Syntax::params_optional},
    {"DURATION", K::duration, Syntax::bare, true},
    {"COMMON_DURATION", K::common_duration, Syntax::params, true},
    {"UPSTREAM_CONNECTION_POOL_READY_DURATION", K::pool_ready_duration, Syntax::bare, true},
    {"BYTES_RECEIVED", K::bytes_received, Syntax::bare, true},
    {"BYTES_SENT", K::bytes_sent, Syntax::bare, true},
    {"DOWNSTREAM_WIRE_BYTES_RECEIVED", K::bytes_received, Syntax::bare, true},
    {"DOWNSTREAM_WIRE_BYTES_SENT", K::bytes_sent, Syntax::bare, true},
    {"UPSTREAM_WIRE_BYTES_RECEIVED", K::upstream_received, Syntax::bare, true},
    {"UPSTREAM_WIRE_BYTES_SENT", K::upstream_sent, Syntax::bare, true},
    {"CONNECTION_ID", K::connection_id, Syntax::bare, true},
    {"UPSTREAM_CONNECTION_ID", K::upstream_connection_id, Syntax::bare, true},
    {"UPSTREAM_REQUEST_ATTEMPT_COUNT", K::attempts, Syntax::bare, true},
    {"RESPONSE_FLAGS", K::flags},
    {"RESPONSE_FLAGS_LONG", K::flags_long},
    {"DOWNSTREAM_DETECTED_CLOSE_TYPE", K::downstream_close_type},
    {"UPSTREAM_DETECTED_CLOSE_TYPE", K::upstream_close_type},
    {"UPSTREAM_HOST", K::upstream_host},
    {"UPSTREAM_HOST_NAME", K::upstream_host_name},
    {"UPSTREAM_HOST_NAME_WITHOUT_PORT", K::upstream_host_name, Syntax::bare, false, kIp},
    {"UPSTREAM_CLUSTER", K::upstream_cluster},
    {"UPSTREAM_CLUSTER_RAW", K::upstream_cluster_raw},
    {"UPSTREAM_LOCAL_ADDRESS", K::upstream_local},
    {"UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", K::upstream_local, Syntax::params_optional, false, kIp},
    {"UPSTREAM_LOCAL_PORT", K::upstream_local, Syntax::bare, true, kPort},
    {"UPSTREAM_REMOTE_ADDRESS", K::upstream_remote},
    {"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", K::upstream_remote, Syntax::params_optional, false, kIp},
    {"UPSTREAM_REMOTE_PORT", K::upstream_remote, Syntax::bare, true, kPort},
    {"UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", K::upstream_endpoint_id},
    {"DOWNSTREAM_LOCAL_ADDRESS", K::downstream_local},
    {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", K::downstream_local, Syntax::params_optional, false, kIp},
    {"DOWNSTREAM_LOCAL_PORT", K::downstream_local, Syntax::bare, true, kPort},
    {"DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", K::empty},
    {"DOWNSTREAM_DIRECT_LOCAL_ADDRESS", K::downstream_direct_local},
    {"DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", K::downstream_direct_local, Syntax::params_optional,
     false, kIp},
    {"DOWNSTREAM_DIRECT_LOCAL_PORT", K::downstream_direct_local, Syntax::bare, true, kPort},
    {"DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", K::empty},
    {"DOWNSTREAM_REMOTE_ADDRESS", K::downstream_remote},
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", K::downstream_remote, Syntax::params_optional, false, kIp},
    {"DOWNSTREAM_REMOTE_PORT", K::downstream_remote, Syntax::bare, true, kPort},
    {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", K::downstream_direct_remote},
    {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", K::downstream_direct_remote, Syntax::params_optional,
     false, kIp},
    {"DOWNSTREAM_DIRECT_REMOTE_PORT", K::downstream_direct_remote, Syntax::bare, true, kPort},
    {"ROUTE_NAME", K::route_name},
    {"FILTER_CHAIN_NAME", K::filter_chain_name},
    {"REQUESTED_SERVER_NAME", K::server_name},
    {"CONNECTION_TERMINATION_DETAILS", K::termination_details},
    {"UPSTREAM_TRANSPORT_FAILURE_REASON", K::transport_failure},
    {"ACCESS_LOG_TYPE", K::access_log_type},
    {"STREAM_ID", K::stream_id},
    {"UNIQUE_ID", K::unique_id},
    {"HOSTNAME", K::literal},
    {"ENVIRONMENT", K::literal, Syntax::params_length},
    {"SLUICE_WORKLOAD", K::workload},  // ours: "namespace/pod" or whatever the workload was enrolled as

    {"PROTOCOL", K::absent},
    {"RESPONSE_CODE", K::zero, Syntax::bare, true},
    {"RESPONSE_CODE_DETAILS", K::response_code_details, Syntax::params_optional},
    {"VIRTUAL_CLUSTER_NAME", K::absent},
    {"DOWNSTREAM_TRANSPORT_FAILURE_REASON", K::absent},
    {"REQ", K::absent, Syntax::params_length},
    {"RESP", K::absent, Syntax::params_length},
    {"TRAILER", K::absent, Syntax::params_length},
    {"QUERY_PARAM", K::absent, Syntax::params_length},
    {"QUERY_PARAMS", K::absent, Syntax::length},
    {"PATH", K::absent, Syntax::length},
    {"DYNAMIC_METADATA", K::absent, Syntax::params_length},
    {"CLUSTER_METADATA", K::absent, Syntax::params},
    {"UPSTREAM_METADATA", K::absent, Syntax::params},
    {"FILTER_STATE", K::absent, Syntax::params_length},
    {"UPSTREAM_FILTER_STATE", K::absent, Syntax::params_length},
    {"REQUEST_DURATION", K::absent, Syntax::bare, true},
    {"REQUEST_TX_DURATION", K::absent, Syntax::bare, true},
    {"RESPONSE_DURATION", K::absent, Syntax::bare, true},
    {"RESPONSE_TX_DURATION", K::absent, Syntax::bare, true},
    {"ROUNDTRIP_DURATION", K::absent, Syntax::bare, true},
    {"DOWNSTREAM_HANDSHAKE_DURATION", K::absent, Syntax::bare, true},
    {"UPSTREAM_PROTOCOL", K::absent},
    {"UPSTREAM_SERVER_NAME", K::absent},
    {"TRACE_ID", K::absent},
    {"SPAN_ID", K::absent},
    {"GRPC_STATUS", K::absent, Syntax::params_optional},
    {"GRPC_STATUS_NUMBER", K::absent, Syntax::bare, true},
    {"LOCAL_REPLY_BODY", K::empty},
    {"CUSTOM_FLAGS", K::empty},
    {"REQUEST_HEADERS_BYTES", K::zero, Syntax::bare, true},
    {"RESPONSE_HEADERS_BYTES", K::zero, Syntax::bare, true},
    {"RESPONSE_TRAILERS_BYTES", K::zero, Syntax::bare, true},
    {"BYTES_RETRANSMITTED", K::zero, Syntax::bare, true},  // Envoy counts these for QUIC alone
    {"PACKETS_RETRANSMITTED", K::zero, Syntax::bare, true},
    {"UPSTREAM_HEADER_BYTES_SENT", K::zero, Syntax::bare, true},
    {"UPSTREAM_HEADER_BYTES_RECEIVED", K::zero, Syntax::bare, true},
    {"UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", K::zero, Syntax::bare, true},
    {"UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", K::zero, Syntax::bare, true},
    {"DOWNSTREAM_HEADER_BYTES_SENT", K::zero, Syntax::bare, true},
    {"DOWNSTREAM_HEADER_BYTES_RECEIVED", K::zero, Syntax::bare, true},
    {"DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", K::zero, Syntax::bare, true},
    {"DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", K::zero, Syntax::bare, true},
    {"TLS_JA3_FINGERPRINT", K::absent},
    {"TLS_JA4_FINGERPRINT", K::absent},
    {"UPSTREAM_TLS_VERSION", K::absent},
    {"UPSTREAM_TLS_CIPHER", K::absent},
    {"UPSTREAM_TLS_SESSION_ID", K::absent},
    {"UPSTREAM_TLS_GROUP", K::absent},
    {"UPSTREAM_PEER_ISSUER", K::absent},
    {"UPSTREAM_PEER_CERT", K::absent},
    {"UPSTREAM_PEER_SUBJECT", K::absent},
    {"UPSTREAM_PEER_URI_SAN", K::absent},
    {"UPSTREAM_PEER_DNS_SAN", K::absent},
    {"UPSTREAM_PEER_IP_SAN", K::absent},
    {"UPSTREAM_LOCAL_URI_SAN", K::absent},
    {"UPSTREAM_LOCAL_DNS_SAN", K::absent},
    {"UPSTREAM_LOCAL_IP_SAN", K::absent},
    {"UPSTREAM_PEER_CERT_V_START", K::absent, Syntax::params_optional},
    {"UPSTREAM_PEER_CERT_V_END", K::absent, Syntax::params_optional},
    {"DOWNSTREAM_TLS_VERSION", K::absent},
    {"DOWNSTREAM_TLS_CIPHER", K::absent},
    {"DOWNSTREAM_TLS_SESSION_ID", K::absent},
    {"DOWNSTREAM_TLS_GROUP", K::absent},
    {"DOWNSTREAM_PEER_URI_SAN", K::absent},
    {"DOWNSTREAM_PEER_DNS_SAN", K::absent},
    {"DOWNSTREAM_PEER_IP_SAN", K::absent},
    {"DOWNSTREAM_PEER_EMAIL_SAN", K::absent},
    {"DOWNSTREAM_PEER_OTHERNAME_SAN", K::absent},
    {"DOWNSTREAM_LOCAL_URI_SAN", K::absent},
    {"DOWNSTREAM_LOCAL_DNS_SAN", K::absent},
    {"DOWNSTREAM_LOCAL_IP_SAN", K::absent},
    {"DOWNSTREAM_LOCAL_EMAIL_SAN", K::absent},
    {"DOWNSTREAM_LOCAL_OTHERNAME_SAN", K::absent},
    {"DOWNSTREAM_PEER_SUBJECT", K::absent},
    {"DOWNSTREAM_LOCAL_SUBJECT", K::absent},
    {"DOWNSTREAM_PEER_FINGERPRINT_256", K::absent},
    {"DOWNSTREAM_PEER_FINGERPRINT_1", K::absent},
    {"DOWNSTREAM_PEER_SERIAL", K::absent},
    {"DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256", K::absent},
    {"DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", K::absent},
    {"DOWNSTREAM_PEER_CHAIN_SERIALS", K::absent},
    {"DOWNSTREAM_PEER_ISSUER", K::absent},
    {"DOWNSTREAM_PEER_CERT", K::absent},
    {"DOWNSTREAM_PEER_CERT_V_START", K::absent, Syntax::params_optional},
    {"DOWNSTREAM_PEER_CERT_V_END", K::absent, Syntax::params_optional},
};

uint8_t time_point(std::string_view name) {
  if (name == "DS_RX_BEG") return stream_begin;
  if (name == "US_CX_BEG") return connect_begin;
  if (name == "US_CX_END") return connect_end;
  return unset;
}

Error bad(std::string_view token, size_t position, std::string_view why) {
  return Error{std::string(token) + " at position " + std::to_string(position) + ": " + std::string(why)};
}

// One command as it stands in the text: %NAME(params):length%.
struct Token {
  std::string_view text, name, params;
  bool has_length = false;
  uint32_t length = ~0u;
};

std::optional<Token> tokenize(std::string_view format, size_t start) {
  auto at = [&](size_t i) { return i < format.size() ? format[i] : '\0'; };
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = start + 1;
  while ((at(i) >= 'A' && at(i) <= 'Z') || is_digit(at(i)) || at(i) == '_') ++i;
  if (i == start + 1) return std::nullopt;
  Token t;
  t.name = format.substr(start + 1, i - start - 1);
  // ":digits%" or "%" from `from`; the end, or npos.
  auto finish = [&](size_t from) -> size_t {
    t.has_length = false;
    if (at(from) == ':') {
      size_t digits = ++from;
      while (is_digit(at(from))) ++from;
      auto [end, error] = std::from_chars(format.data() + digits, format.data() + from, t.length);
      if (error != std::errc{}) return std::string_view::npos;
      t.has_length = true;
    }
    return at(from) == '%' ? from + 1 : std::string_view::npos;
  };
  size_t end = std::string_view::npos;
  if (at(i) == '(') {
    // The first ")" after which a command can end.
    for (size_t close = format.find(')', i); close != format.npos && end == format.npos;
         close = format.find(')', close + 1)) {
      t.params = format.substr(i + 1, close - i - 1);
      if (t.params.find('\n') != t.params.npos) return std::nullopt;
      end = finish(close + 1);
    }
  } else {
    end = finish(i);
  }
  if (end == std::string_view::npos) return std::nullopt;
  t.text = format.substr(start, end - start);
  return t;
}

Status configure(Operator& op, const Token& t, size_t position) {
  switch (op.kind) {
    case K::start_time:
    case K::emit_time: {
      auto time = TimeFormat::parse(t.params, t.name.ends_with("_LOCAL"));
      if (!time.ok()) return bad(t.text, position, time.error().message);
      op.time = std::make_shared<const TimeFormat>(std::move(time).value());
      break;
    }
    case K::common_duration: {
      size_t first = t.params.find(':'),
             second = first == t.params.npos ? first : t.params.find(':', first + 1);
      if (first == t.params.npos ||
          (second != t.params.npos && t.params.find(':', second + 1) != t.params.npos)) {
        return bad(t.text, position, "wants BEGIN:END or BEGIN:END:UNIT (ms, us, ns)");
      }
      op.begin = time_point(t.params.substr(0, first));
      op.end = time_point(t.params.substr(first + 1, second == t.params.npos ? second : second - first - 1));
      std::string_view unit = second == t.params.npos ? "ms" : t.params.substr(second + 1);
      if (unit != "ms" && unit != "us" && unit != "ns")
        return bad(t.text, position, "the unit is ms, us or ns");
      op.unit = unit == "ms" ? 1'000'000 : unit == "us" ? 1'000 : 1;
      break;
    }
    case K::literal:
      if (t.name == "HOSTNAME") {
        char name[256] = "";
        op.text = gethostname(name, sizeof name - 1) == 0 && *name ? name : "-";
      } else {
        const char* value = std::getenv(std::string(t.params).c_str());
        op.text = value ? value : "-";
      }
      break;
    default:
      if (op.address_part == AddressPart::ip && !t.params.empty()) {
        int bits = -1;  // anything but a number is ignored, as Envoy does
        auto [end, error] = std::from_chars(t.params.data(), t.params.data() + t.params.size(), bits);
        if (error == std::errc{} && end == t.params.data() + t.params.size() && bits >= 0) {
          op.prefix_length = static_cast<int16_t>(std::min(bits, 128));
        }
      }
      break;
  }
  return {};
}

Result<Operator> make_operator(const Token& t, size_t position) {
  const Command* c = std::find_if(std::begin(kCommands), std::end(kCommands),
                                  [&](const Command& c) { return c.name == t.name; });
  if (c == std::end(kCommands)) {
    return bad(t.text, position, "is not a command that Sluice can fill in; take it out of the format");
  }
  bool wants_params = c->syntax == Syntax::params || c->syntax == Syntax::params_length;
  bool takes_length = c->syntax == Syntax::length || c->syntax == Syntax::params_length;
  if (wants_params && t.params.empty())
    return bad(t.text, position, "requires parameters, as in %" + std::string(t.name) + "(X)%");
  if (c->syntax == Syntax::bare && !t.params.empty()) return bad(t.text, position, "takes no parameters");
  if (!takes_length && t.has_length) return bad(t.text, position, "takes no length");
  Operator op;
  op.kind = c->kind;
  op.numeric = c->numeric;
  op.max_length = t.length;
  op.address_part = c->part;
  SLUICE_TRY(configure(op, t, position));
  return op;
}

}  // namespace

Result<std::vector<Operator>> parse_format(std::string_view format) {
  std::vector<Operator> out;
  std::string literal;
  auto flush = [&] {
    if (literal.empty()) return;
    Operator op;
    op.kind = K::literal;
    op.text = std::exchange(literal, {});
    out.push_back(std::move(op));
  };
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      literal += format[i++];
      continue;
    }
    if (format.substr(i, 2) == "%%") {
      literal += '%';
      i += 2;
      continue;
    }
    std::optional<Token> t = tokenize(format, i);
    if (!t) {
      return Error{"\"" + std::string(format.substr(i, 24)) + "\" at position " + std::to_string(i) +
                   " is not a command: %NAME%, %NAME(PARAMETERS)% or %NAME(PARAMETERS):LENGTH%; write %% for "
                   "a percent sign"};
    }
    SLUICE_ASSIGN(Operator op, make_operator(*t, i));
    flush();
    out.push_back(std::move(op));
    i += t->text.size();
  }
  flush();
  return out;
}

}  // namespace sluice::access_loggers
