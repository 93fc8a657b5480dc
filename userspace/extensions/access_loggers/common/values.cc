#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/random.h"
#include "extensions/access_loggers/common/operator_kind.h"
#include "extensions/access_loggers/common/operators.h"

namespace sluice::access_loggers {
namespace {

using ext::StreamInfo;
using K = OperatorKind;

std::optional<MonotonicTime> time_of(const StreamInfo& info, uint8_t point) {
  MonotonicTime t{};
  if (point == stream_begin) t = info.start;
  if (point == connect_begin) t = info.upstream_connect_start;
  if (point == connect_end) t = info.upstream_connect_done;
  if (t == MonotonicTime{}) return std::nullopt;
  return t;
}

void append_int(std::string& out, int64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}
void append_uint(std::string& out, uint64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

bool append_duration(std::string& out, std::optional<MonotonicTime> from, std::optional<MonotonicTime> to,
                     int64_t unit) {
  if (!from || !to || *to < *from) return false;
  append_int(out, (*to - *from).count() / unit);
  return true;
}

void append_ip(std::string& out, const IpAddress& ip) {
  char text[INET6_ADDRSTRLEN];
  if (inet_ntop(ip.family(), ip.bytes().data(), text, sizeof text)) out += text;
}

bool append_address(const Operator& op, const Address& address, std::string& out) {
  if (!address.valid()) return false;
  if (!address.is_ip()) {
    if (op.address_part == AddressPart::port) return false;
    out += address.path();
    return true;
  }
  IpAddress ip = address.ip();
  switch (op.address_part) {
    case AddressPart::port:
      append_uint(out, address.port());
      return true;
    case AddressPart::ip:
      if (op.prefix_length >= 0) {
        unsigned bits = std::min<unsigned>(static_cast<unsigned>(op.prefix_length), ip.is_v4() ? 32 : 128);
        auto cidr = Cidr::make(ip, bits);
        append_ip(out, cidr.ok() ? cidr->address() : ip);
        out += '/';
        append_uint(out, bits);
      } else {
        append_ip(out, ip);
      }
      return true;
    case AddressPart::whole:
      if (ip.is_v6()) out += '[';
      append_ip(out, ip);
      if (ip.is_v6()) out += ']';
      out += ':';
      append_uint(out, address.port());
      return true;
  }
  return false;
}

bool append_text(std::string& out, std::string_view text) {
  out += text;
  return !text.empty();
}

// As Envoy: a server name with characters that no host name has is marked, and they are replaced.
bool append_server_name(std::string& out, std::string_view name) {
  auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
  };
  if (std::all_of(name.begin(), name.end(), good)) return append_text(out, name);
  out += "invalid:";
  for (char c : name) out += good(c) ? c : '_';
  return true;
}

void append_uuid(std::string& out, uint64_t high, uint64_t low) {
  high = (high & ~0xf000ull) | 0x4000;         // version 4
  low = (low & ~(3ull << 62)) | (2ull << 62);  // RFC 4122 variant
  auto hex = [&](uint64_t v, unsigned from,
                 unsigned digits) {  // `digits` nibbles from nibble `from` (0: the highest)
    for (unsigned i = from; i < from + digits; ++i) out += "0123456789abcdef"[v >> (60 - 4 * i) & 15];
  };
  hex(high, 0, 8), out += '-', hex(high, 8, 4), out += '-', hex(high, 12, 4), out += '-';
  hex(low, 0, 4), out += '-', hex(low, 4, 12);
}

// The same for every record of a stream, different for every stream and process; nothing is stored for it.
void append_stream_id(std::string& out, const StreamInfo& info) {
  static const uint64_t process = random_seed();
  Random r(process ^ (info.connection_id * 0x9e3779b97f4a7c15ull) ^
           static_cast<uint64_t>(info.start_time.time_since_epoch().count()));
  uint64_t high = r.next();
  append_uuid(out, high, r.next());
}

void append_unique_id(std::string& out) {
  thread_local Random r(random_seed());
  uint64_t high = r.next();
  append_uuid(out, high, r.next());
}

std::string_view close_type_name(ext::CloseType type) {
  switch (type) {
    case ext::CloseType::normal:
      return "Normal";
    case ext::CloseType::local_reset:
      return "LocalReset";
    case ext::CloseType::remote_reset:
      return "RemoteReset";
  }
  return "Normal";
}

std::string_view type_name(ext::AccessLogType type) {
  switch (type) {
    case ext::AccessLogType::not_set:
      return "NotSet";
    case ext::AccessLogType::tcp_upstream_connected:
      return "TcpUpstreamConnected";
    case ext::AccessLogType::tcp_periodic:
      return "TcpPeriodic";
    case ext::AccessLogType::tcp_connection_end:
      return "TcpConnectionEnd";
    case ext::AccessLogType::downstream_start:
      return "DownstreamStart";
    case ext::AccessLogType::downstream_periodic:
      return "DownstreamPeriodic";
    case ext::AccessLogType::downstream_end:
      return "DownstreamEnd";
    case ext::AccessLogType::upstream_poolready:
      return "UpstreamPoolReady";
    case ext::AccessLogType::upstream_periodic:
      return "UpstreamPeriodic";
    case ext::AccessLogType::upstream_end:
      return "UpstreamEnd";
    case ext::AccessLogType::downstream_tunnel_successfully_established:
      return "DownstreamTunnelSuccessfullyEstablished";
    case ext::AccessLogType::upstream_tunnel_successfully_established:
      return "UpstreamTunnelSuccessfullyEstablished";
  }
  return "NotSet";
}

bool append_host_name(const Operator& op, const StreamInfo& info, std::string& out) {
  if (info.upstream_host_name.empty()) return append_address(op, info.upstream_remote, out);
  std::string_view name = info.upstream_host_name;
  if (op.address_part == AddressPart::ip) {
    if (auto parsed = Address::parse(name); parsed.ok()) return append_address(op, *parsed, out);
    size_t colon = name.rfind(':');
    bool port = colon != name.npos && colon + 1 < name.size() &&
                std::all_of(name.begin() + static_cast<ptrdiff_t>(colon) + 1, name.end(),
                            [](char c) { return c >= '0' && c <= '9'; });
    if (port) name = name.substr(0, colon);
  }
  return append_text(out, name);
}

bool append_value(const Operator& op, const StreamInfo& info, ext::AccessLogType type, std::string& out) {
  switch (op.kind) {
    case K::literal:
      out += op.text;
      return true;
    case K::absent:
      return false;
    case K::zero:
      out += '0';
      return true;
    case K::empty:
      return true;
    case K::start_time:
      op.time->append(info.start_time, out);
      return true;
    case K::emit_time: {
      Duration age = info.end == MonotonicTime{} ? Duration{} : info.end - info.start;
      op.time->append(info.start_time + age, out);
      return true;
    }
    case K::duration: {
      std::optional<MonotonicTime> end;
      if (info.end != MonotonicTime{}) end = info.end;
      return append_duration(out, info.start, end, op.unit);
    }
    case K::common_duration:
      return append_duration(out, time_of(info, op.begin), time_of(info, op.end), op.unit);
    case K::pool_ready_duration:
      return append_duration(out, time_of(info, connect_begin), time_of(info, connect_end), op.unit);
    case K::bytes_received:
      append_uint(out, info.bytes_received);
      return true;
    case K::bytes_sent:
      append_uint(out, info.bytes_sent);
      return true;
    case K::upstream_sent:
      append_uint(out, info.upstream_bytes_sent);
      return true;
    case K::upstream_received:
      append_uint(out, info.upstream_bytes_received);
      return true;
    case K::connection_id:
      append_uint(out, info.connection_id);
      return true;
    case K::upstream_connection_id:
      append_uint(out, info.upstream_connection_id);
      return true;
    case K::attempts:
      append_uint(out, info.upstream_attempts);
      return true;
    case K::flags:
      info.flags.append_short(out);
      return true;
    case K::flags_long:
      info.flags.append_long(out);
      return true;
    case K::downstream_close_type:
      return append_text(out, close_type_name(info.downstream_close));
    case K::upstream_close_type:
      return append_text(out, close_type_name(info.upstream_close));
    case K::upstream_host:
      return append_address(op, info.upstream_remote, out);
    case K::upstream_host_name:
      return append_host_name(op, info, out);
    case K::upstream_cluster:
      return append_text(out, info.upstream_cluster);
    case K::upstream_cluster_raw:
      return append_text(
          out, info.upstream_cluster_raw.empty() ? info.upstream_cluster : info.upstream_cluster_raw);
    case K::upstream_local:
      return append_address(op, info.upstream_local, out);
    case K::upstream_remote:
      return info.upstream_connect_done != MonotonicTime{} && append_address(op, info.upstream_remote, out);
    case K::upstream_endpoint_id:
      return info.upstream_connect_done != MonotonicTime{};
    case K::downstream_local:
      return append_address(op, info.downstream_local, out);
    case K::downstream_remote:
      return append_address(op, info.downstream_remote, out);
    case K::downstream_direct_local:
      return append_address(op, info.downstream_direct_local, out);
    case K::downstream_direct_remote:
      return append_address(op, info.downstream_direct_remote, out);
    case K::route_name:
      return append_text(out, info.route_name);
    case K::filter_chain_name:
      return info.filter_chain_name && append_text(out, *info.filter_chain_name);
    case K::server_name:
      return append_server_name(out, info.requested_server_name);
    case K::response_code_details:
      return append_text(out, info.response_code_details);
    case K::termination_details:
      return append_text(out, info.termination_details);
    case K::transport_failure:
      for (char c : info.upstream_transport_failure_reason) out += c == ' ' ? '_' : c;
      return !info.upstream_transport_failure_reason.empty();
    case K::access_log_type:
      return append_text(out, type_name(type));
    case K::stream_id:
      append_stream_id(out, info);
      return true;
    case K::unique_id:
      append_unique_id(out);
      return true;
    case K::workload:
      return info.workload && append_text(out, *info.workload);
  }
  return false;
}

}  // namespace

bool Operator::is_literal() const {
  return kind == K::literal;
}

bool Operator::append(const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const {
  size_t before = out.size();
  if (!append_value(*this, info, type, out)) return false;
  if (out.size() - before > max_length) out.resize(before + max_length);
  return true;
}

}  // namespace sluice::access_loggers
