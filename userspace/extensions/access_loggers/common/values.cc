#include <arpa/inet.h>

#include <algorithm>

#include "core/json_string.h"
#include "core/random.h"
#include "extensions/access_loggers/common/operator_kind.h"
#include "extensions/access_loggers/common/operators.h"
#include "extensions/access_loggers/common/values_http.h"
#include "extensions/access_loggers/common/values_metadata.h"
#include "extensions/access_loggers/common/values_tls.h"
#include "http/header_map.h"
#include "model/route.h"

namespace sluice::access_loggers {
namespace {

using ext::StreamInfo;
using K = OperatorKind;

MonotonicTime time_of(const StreamInfo& info, uint8_t point) {
  const ext::HttpInfo* h = info.http;
  auto of = [h](MonotonicTime ext::HttpInfo::* member) { return h ? h->*member : MonotonicTime{}; };
  using ext::HttpInfo;
  switch (static_cast<TimePoint>(point)) {
    case TimePoint::unset:
      return {};
    case TimePoint::connection_begin:
      return h ? h->connection_start : info.start;
    case TimePoint::connection_end:
      return h ? MonotonicTime{} : info.end;  // a stream's record is written before the connection ends
    case TimePoint::stream_begin:
      return info.start;
    case TimePoint::request_received:
      return of(&HttpInfo::last_downstream_rx_byte);
    case TimePoint::connect_begin:
      return info.upstream_connect_start;
    case TimePoint::connect_end:
      return info.upstream_connect_done;
    case TimePoint::upstream_send_begin:
      return of(&HttpInfo::first_upstream_tx_byte);
    case TimePoint::upstream_send_end:
      return of(&HttpInfo::last_upstream_tx_byte);
    case TimePoint::upstream_receive_begin:
      return of(&HttpInfo::first_upstream_rx_byte);
    case TimePoint::upstream_receive_body_begin:
      return of(&HttpInfo::first_upstream_rx_body_byte);
    case TimePoint::upstream_receive_end:
      return of(&HttpInfo::last_upstream_rx_byte);
    case TimePoint::downstream_send_begin:
      return of(&HttpInfo::first_downstream_tx_byte);
    case TimePoint::downstream_send_end:
      return of(&HttpInfo::last_downstream_tx_byte);
  }
  return {};
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

bool append_reason(std::string& out, std::string_view reason) {
  for (char c : reason) out += c == ' ' ? '_' : c;
  return !reason.empty();
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

bool append_host_name(const Operator& op, std::string_view name, const Address& address, std::string& out) {
  if (name.empty()) return append_address(op, address, out);
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

// The hosts of earlier tries, then the last; each once.
bool append_attempted(const Operator& op, const StreamInfo& info, std::string& out) {
  if (!info.upstream_remote.valid() || (info.http && info.upstream_connection_id == 0)) return false;
  const bool names = op.kind == K::host_names_attempted;
  auto append = [&](std::string_view name, const Address& address) {
    return names ? append_host_name(op, name, address, out) : append_address(op, address, out);
  };
  bool last_is_new = true;
  if (info.http) {
    for (const auto& host : info.http->earlier_hosts) {
      if (append(host.name, host.address)) out += ',';
      last_is_new &= host.address != info.upstream_remote;
    }
  }
  if (last_is_new) return append(info.upstream_host_name, info.upstream_remote);
  out.pop_back();
  return true;
}

bool append_server(const Operator& op, const StreamInfo& info, std::string& out) {
  auto choice = static_cast<ServerName>(op.choice);
  if (choice == ServerName::sni_only ||
      (choice == ServerName::sni_first && !info.requested_server_name.empty()))
    return append_server_name(out, info.requested_server_name);
  if (std::string_view host = requested_host(op, info); !host.empty()) return append_text(out, host);
  return append_server_name(out, info.requested_server_name);
}

// Envoy's id of a stream is that of the request: x-request-id.
bool append_stream(const StreamInfo& info, std::string& out) {
  if (!info.http) {
    append_stream_id(out, info);
    return true;
  }
  const http::HeaderMap* headers = info.http->request_headers;
  return headers && append_text(out, headers->get(http::Name::x_request_id));
}

bool append_details(const Operator& op, const StreamInfo& info, std::string& out) {
  size_t before = out.size();
  out += info.response_code_details;
  if (!op.keep_blanks) {
    for (size_t i = before; i < out.size(); ++i)
      if (std::string_view(" \t\r\n\v\f").find(out[i]) != std::string_view::npos) out[i] = '_';
  }
  return !info.response_code_details.empty();
}

uint64_t wire_bytes(K kind, const StreamInfo& info) {
  const ext::HttpInfo* h = info.http;
  switch (kind) {
    case K::downstream_wire_received:
      return h ? h->downstream_wire_bytes_received : info.bytes_received;
    case K::downstream_wire_sent:
      return h ? h->downstream_wire_bytes_sent : info.bytes_sent;
    case K::upstream_wire_received:
      return h ? h->upstream_wire_bytes_received : info.upstream_bytes_received;
    case K::upstream_wire_sent:
      return h ? h->upstream_wire_bytes_sent : info.upstream_bytes_sent;
    default:
      return 0;
  }
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
    case K::duration:
      return append_duration(out, info.start, info.end, op.unit);
    case K::common_duration:
      return append_duration(out, time_of(info, op.begin), time_of(info, op.end), op.unit);
    case K::pool_ready_duration:
      if (info.http)
        return append_duration(out, info.http->upstream_request_start, info.http->upstream_pool_ready,
                               op.unit);
      return append_duration(out, info.upstream_connect_start, info.upstream_connect_done, op.unit);
    case K::bytes_received:
      append_uint(out, info.bytes_received);
      return true;
    case K::bytes_sent:
      append_uint(out, info.bytes_sent);
      return true;
    case K::downstream_wire_received:
    case K::downstream_wire_sent:
    case K::upstream_wire_received:
    case K::upstream_wire_sent:
      append_uint(out, wire_bytes(op.kind, info));
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
      if (info.http && !info.upstream_remote.valid()) return false;
      return append_text(out, close_type_name(info.upstream_close));
    case K::upstream_host:
      return append_address(op, info.upstream_remote, out);
    case K::upstream_host_name:
      return append_host_name(op, info.upstream_host_name, info.upstream_remote, out);
    case K::hosts_attempted:
    case K::host_names_attempted:
      return append_attempted(op, info, out);
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
      if (info.route_name.empty() && info.http && info.http->route)
        return append_text(out, info.http->route->name);
      return append_text(out, info.route_name);
    case K::filter_chain_name:
      return info.filter_chain_name && append_text(out, *info.filter_chain_name);
    case K::server_name:
      return append_server(op, info, out);
    case K::response_code_details:
      return append_details(op, info, out);
    case K::termination_details:
      return append_text(out, info.termination_details);
    case K::transport_failure:
      return append_reason(out, info.upstream_transport_failure_reason);
    case K::downstream_transport_failure:
      return append_reason(out, info.downstream_transport_failure_reason);
    case K::ja3:
      return append_text(out, info.ja3_hash);
    case K::ja4:
      return append_text(out, info.ja4);
    case K::downstream_tls:
      return info.downstream_tls && append_tls_value(op, *info.downstream_tls, out);
    case K::upstream_tls:
      return info.upstream_tls && append_tls_value(op, *info.upstream_tls, out);
    case K::access_log_type:
      return append_text(out, type_name(type));
    case K::stream_id:
      return append_stream(info, out);
    case K::unique_id:
      append_unique_id(out);
      return true;
    case K::workload:
      return info.workload && append_text(out, *info.workload);
    case K::dynamic_metadata:
      return append_dynamic_metadata(op, info, false, out);
    case K::coalesce:
      for (const Operator& o : op.operators) {
        size_t before = out.size();
        if (o.append(info, type, out) && out.size() > before) return true;
      }
      return false;
    default:
      return append_http_value(op, info, type, out);
  }
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

bool Operator::append_json(const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const {
  if (numeric) return append(info, type, out);
  if (kind == K::filter_state && choice == static_cast<uint8_t>(FilterStateFormat::typed))
    return append_filter_state_json(*this, info, out);
  if (kind == K::dynamic_metadata) {
    const size_t before = out.size();
    if (!append_dynamic_metadata(*this, info, true, out)) return false;
    if (max_length == ~0u || out[before] != '"') return true;  // as in Envoy, strings alone are cut
    out.resize(before);
  }
  if (kind == K::coalesce && max_length == ~0u) {
    for (const Operator& o : operators)
      if (o.append_json(info, type, out)) return true;
    return false;
  }
  out += '"';
  size_t start = out.size();
  if (!append(info, type, out)) {
    out.pop_back();
    return false;
  }
  escape_json_tail(out, start);
  out += '"';
  return true;
}

}  // namespace sluice::access_loggers
