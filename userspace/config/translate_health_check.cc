#include "config/translate_health_check.h"

#include <utility>

#include "config/any.h"
#include "config/convert.h"
#include "config/translate_metadata.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/health_check.pb.h"
#include "envoy/config/endpoint/v3/endpoint_components.pb.h"
#include "envoy/extensions/health_check/event_sinks/file/v3/file.pb.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_matchers.h"
#include "sluice/ext/access_log_manager.h"

namespace sluice::config {

namespace core = envoy::config::core::v3;
using FileSink = envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;
using model::HealthCheck;

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> to_bytes(const core::HealthCheck::Payload& in, const FieldPath& path) {
  if (!in.has_text()) return in.binary();
  const std::string& text = in.text();
  std::string out;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]), low = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
    if (high < 0 || low < 0)
      return refuse(path.field("text"),
                    "invalid hex string '" + text + "': two digits make a byte; \"50494e47\" is PING");
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

// An empty string is found anywhere: it asks for nothing.
template <typename List>
Result<model::PayloadPattern> to_pattern(const List& in, const FieldPath& path) {
  model::PayloadPattern out;
  for (int i = 0; i < in.size(); ++i) {
    SLUICE_ASSIGN(std::string bytes, to_bytes(in[i], path.item(static_cast<size_t>(i))));
    if (!bytes.empty()) out.push_back(std::move(bytes));
  }
  return out;
}

template <typename List>
Status add_statuses(const List& in, const FieldPath& path, const char* what,
                    std::vector<model::HttpHealthCheck::Statuses>& out) {
  if (!in.empty()) out.clear();
  for (int i = 0; i < in.size(); ++i) {
    const int64_t start = in[i].start(), end = in[i].end();
    const std::string found = "found start=" + std::to_string(start) + " and end=" + std::to_string(end);
    const std::string invalid = std::string("Invalid http ") + what + " status range: expecting ";
    const FieldPath at = path.item(static_cast<size_t>(i));
    if (start >= end) return refuse(at, invalid + "start < end, but " + found);
    if (start < 100) return refuse(at.field("start"), invalid + "start >= 100, but " + found);
    if (end > 600) return refuse(at.field("end"), invalid + "end <= 600, but " + found);
    out.push_back({static_cast<uint16_t>(start), static_cast<uint16_t>(end)});
  }
  return {};
}

bool takes_body(core::RequestMethod method) {
  return method == core::POST || method == core::PUT || method == core::PATCH || method == core::OPTIONS;
}

Result<model::HttpHealthCheck> to_http(const core::HealthCheck::HttpHealthCheck& in, const FieldPath& path) {
  model::HttpHealthCheck out;
  out.host = in.host();
  out.path = in.path();
  const core::RequestMethod method = in.method() == core::METHOD_UNSPECIFIED ? core::GET : in.method();
  out.method = core::RequestMethod_Name(method);
  if (in.has_send()) {
    const FieldPath at = path.field("send");
    if (!takes_body(method))
      return refuse(at, "HTTP health check cannot specify a request payload with method '" + out.method +
                            "'. Only methods that support a request body (POST, PUT, PATCH, OPTIONS) can be "
                            "used with payload.");
    SLUICE_ASSIGN(out.send, to_bytes(in.send(), at));
  }
  const FieldPath receive = path.field("receive");
  SLUICE_ASSIGN(out.receive, to_pattern(in.receive(), receive));
  out.response_buffer_size =
      value_or(in.has_response_buffer_size(), in.response_buffer_size(), out.response_buffer_size);
  size_t length = 0;
  for (const std::string& bytes : out.receive) length += bytes.size();
  if (out.response_buffer_size != 0 && length > out.response_buffer_size)
    return refuse(receive, "The expected response length '" + std::to_string(length) +
                               "' is over than http health response buffer size '" +
                               std::to_string(out.response_buffer_size) + "'; raise response_buffer_size");
  SLUICE_TRY(add_statuses(in.expected_statuses(), path.field("expected_statuses"), "expected", out.expected));
  SLUICE_TRY(
      add_statuses(in.retriable_statuses(), path.field("retriable_statuses"), "retriable", out.retriable));
  SLUICE_TRY(extensions::add_headers(in.request_headers_to_add(),
                                     path.field("request_headers_to_add").to_string(), out.headers));
  SLUICE_TRY(extensions::remove_headers(in.request_headers_to_remove(),
                                        path.field("request_headers_to_remove").to_string(), out.headers));
  if (in.has_service_name_matcher()) {
    SLUICE_ASSIGN(out.service_name,
                  extensions::to_string_matcher(in.service_name_matcher(),
                                                path.field("service_name_matcher").to_string()));
  }
  if (in.codec_client_type() == envoy::type::v3::HTTP3)
    return refuse(path.field("codec_client_type"),
                  "HTTP3 is not supported by this version of Sluice; it has HTTP1 and HTTP2");
  out.http2 = in.codec_client_type() == envoy::type::v3::HTTP2;
  return out;
}

Result<model::TcpHealthCheck> to_tcp(const core::HealthCheck::TcpHealthCheck& in, const FieldPath& path) {
  model::TcpHealthCheck out;
  if (in.has_send()) {
    SLUICE_ASSIGN(out.send, to_bytes(in.send(), path.field("send")));
  }
  SLUICE_ASSIGN(out.receive, to_pattern(in.receive(), path.field("receive")));
  return out;
}

Result<model::GrpcHealthCheck> to_grpc(const core::HealthCheck::GrpcHealthCheck& in, const FieldPath& path) {
  model::GrpcHealthCheck out{.service_name = in.service_name(), .authority = in.authority(), .metadata = {}};
  SLUICE_TRY(extensions::add_headers(in.initial_metadata(), path.field("initial_metadata").to_string(),
                                     out.metadata));
  return out;
}

Status add_event_logs(const core::HealthCheck& in, ext::AccessLogManager* logs, const FieldPath& path,
                      HealthCheck& out) {
  auto add = [&](const std::string& file, const FieldPath& at) -> Status {
    if (logs == nullptr) return refuse(at, "no file can be written here");
    auto opened = logs->open(file);
    if (!opened.ok()) return std::move(opened).error().prefixed(at.to_string());
    out.event_logs.push_back(std::move(opened).value());
    return {};
  };
  if (!in.event_log_path().empty()) SLUICE_TRY(add(in.event_log_path(), path.field("event_log_path")));
  const FieldPath list = path.field("event_logger");
  for (int i = 0; i < in.event_logger_size(); ++i) {
    const FieldPath item = list.item(static_cast<size_t>(i));
    const FieldPath at = item.field("typed_config");
    SLUICE_ASSIGN(const auto message, unpack(in.event_logger(i).typed_config(), at));
    if (message->GetDescriptor() != FileSink::descriptor())
      return refuse(at, message->GetDescriptor()->full_name() +
                            " is not an event sink that this version of Sluice has; it has "
                            "HealthCheckEventFileSink");
    SLUICE_TRY(add(static_cast<const FileSink&>(*message).event_log_path(), at.field("event_log_path")));
  }
  return {};
}

// Envoy counts milliseconds.
template <typename Proto>
Duration ms_or(bool present, const Proto& duration, Duration otherwise) {
  return present ? to_milliseconds(duration) : otherwise;
}

Result<HealthCheck> to_health_check(const core::HealthCheck& in, ext::AccessLogManager* logs,
                                    const FieldPath& path) {
  HealthCheck out;
  out.timeout = to_milliseconds(in.timeout());
  out.interval = to_milliseconds(in.interval());
  out.initial_jitter = to_milliseconds(in.initial_jitter());
  out.interval_jitter = to_milliseconds(in.interval_jitter());
  out.interval_jitter_percent = in.interval_jitter_percent();
  out.unhealthy_threshold = in.unhealthy_threshold().value();
  out.healthy_threshold = in.healthy_threshold().value();
  out.reuse_connection = value_or(in.has_reuse_connection(), in.reuse_connection(), out.reuse_connection);
  out.no_traffic_interval =
      ms_or(in.has_no_traffic_interval(), in.no_traffic_interval(), out.no_traffic_interval);
  out.no_traffic_healthy_interval =
      ms_or(in.has_no_traffic_healthy_interval(), in.no_traffic_healthy_interval(), out.no_traffic_interval);
  out.unhealthy_interval = ms_or(in.has_unhealthy_interval(), in.unhealthy_interval(), out.interval);
  out.unhealthy_edge_interval =
      ms_or(in.has_unhealthy_edge_interval(), in.unhealthy_edge_interval(), out.unhealthy_interval);
  out.healthy_edge_interval = ms_or(in.has_healthy_edge_interval(), in.healthy_edge_interval(), out.interval);
  out.always_log_failures = in.always_log_health_check_failures();
  out.always_log_success = in.always_log_health_check_success();
  switch (in.health_checker_case()) {
    case core::HealthCheck::kHttpHealthCheck: {
      SLUICE_ASSIGN(out.kind, to_http(in.http_health_check(), path.field("http_health_check")));
      break;
    }
    case core::HealthCheck::kTcpHealthCheck: {
      SLUICE_ASSIGN(out.kind, to_tcp(in.tcp_health_check(), path.field("tcp_health_check")));
      break;
    }
    case core::HealthCheck::kGrpcHealthCheck: {
      SLUICE_ASSIGN(out.kind, to_grpc(in.grpc_health_check(), path.field("grpc_health_check")));
      break;
    }
    default:
      return refuse(path, "must have http_health_check, tcp_health_check or grpc_health_check");
  }
  SLUICE_TRY(add_event_logs(in, logs, path, out));
  out.alpn.assign(in.tls_options().alpn_protocols().begin(), in.tls_options().alpn_protocols().end());
  if (in.has_transport_socket_match_criteria()) {
    core::Metadata criteria;
    (*criteria.mutable_filter_metadata())["criteria"] = in.transport_socket_match_criteria();
    out.transport_metadata = to_lb_metadata(criteria, "criteria");
    // Empty criteria are criteria all the same.
    if (!out.transport_metadata) out.transport_metadata = std::make_shared<const model::LbMetadata>();
  }
  return out;
}

}  // namespace

Status add_health_check(const envoy::config::cluster::v3::Cluster& in, ext::AccessLogManager* logs,
                        const FieldPath& path, model::Cluster& out) {
  out.ignore_health_on_host_removal = in.ignore_health_on_host_removal();
  out.ignore_new_hosts_until_first_health_check = in.common_lb_config().ignore_new_hosts_until_first_hc();
  out.close_connections_on_health_failure = in.close_connections_on_host_health_failure();
  if (in.health_checks().empty()) return {};
  const FieldPath list = path.field("health_checks");
  if (in.health_checks_size() > 1)
    return refuse(
        list,
        "one health check is supported: several need names, which this version of the API does not have; "
        "leave one");
  if (out.type == model::ClusterType::original_dst)
    return refuse(list,
                  "an ORIGINAL_DST cluster has no hosts of its own that could be asked; leave it out, or use "
                  "outlier_detection");
  SLUICE_ASSIGN(out.health_check, to_health_check(in.health_checks(0), logs, list.item(0)));
  const core::HealthCheck& check = in.health_checks(0);
  // Envoy: "HTTP/2 codec" is asked of the whole cluster for gRPC.
  if (check.has_grpc_health_check() && out.http.protocol != model::HttpUpstreamOptions::Protocol::http2)
    return refuse(list.item(0).field("grpc_health_check"),
                  "cluster must support HTTP/2 for gRPC healthchecking: set explicit_http_config: "
                  "{http2_protocol_options: {}} in typed_extension_protocol_options");
  return {};
}

Status add_endpoint_health(const envoy::config::endpoint::v3::Endpoint& in, const FieldPath& path,
                           model::Endpoint& out) {
  if (!in.has_health_check_config()) return {};
  const auto& config = in.health_check_config();
  if (config.has_address()) {
    SLUICE_ASSIGN(out.health_address,
                  to_address(config.address(), path.field("health_check_config").field("address")));
  }
  out.health_port = static_cast<uint16_t>(config.port_value());
  out.health_hostname = config.hostname();
  out.health_check_disabled = config.disable_active_health_check();
  return {};
}

}  // namespace sluice::config
