#include "proxy/upstream/health_events.h"

#include <cstdio>
#include <ctime>

#include "core/json_string.h"
#include "sluice/ext/access_log_manager.h"

namespace sluice::upstream {
namespace {

std::string_view checker_name(const model::HealthCheck& check) {
  if (std::holds_alternative<model::HttpHealthCheck>(check.kind)) return "HTTP";
  return std::holds_alternative<model::TcpHealthCheck>(check.kind) ? "TCP" : "GRPC";
}

// As protobuf writes a Timestamp: with three digits of the second's fraction, or none where it is 0.
std::string timestamp(WallTime now) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const size_t n = std::strftime(text, sizeof(text), "%FT%T", &parts);
  std::string out(text, n);
  if (ms % 1000 != 0) {
    std::snprintf(text, sizeof(text), ".%03d", static_cast<int>(ms % 1000));
    out += text;
  }
  return out + "Z";
}

void append_address(const Address& a, std::string& out) {
  if (a.is_ip()) {
    out += R"("socket_address":{"protocol":"TCP","address":)";
    append_json_string(a.ip().to_string(), out);
    out += R"(,"port_value":)" + std::to_string(a.port()) +
           R"(,"resolver_name":"","ipv4_compat":false,"network_namespace_filepath":""})";
    return;
  }
  out += R"("pipe":{"path":)";
  append_json_string(a.path(), out);
  out += R"(,"mode":0})";
}

void append_locality(const HostLocality* locality, std::string& out) {
  auto name = [&](const char* key, std::string HostLocality::* which) {
    out += key;
    append_json_string(locality ? locality->*which : std::string(), out);
  };
  name(",\"locality\":{\"region\":", &HostLocality::region);
  name(",\"zone\":", &HostLocality::zone);
  name(",\"sub_zone\":", &HostLocality::sub_zone);
  out += '}';
}

std::string boolean(bool b) {
  return b ? "true" : "false";
}

}  // namespace

HealthEvents::HealthEvents(io::Loop& loop, const model::Cluster& cluster)
    : loop_(loop), cluster_(cluster), checker_(checker_name(*cluster.health_check)) {}

void HealthEvents::ejected(const Host& host, std::string_view failure, uint16_t status) {
  write(host, "eject_unhealthy_event",
        "\"failure_type\":\"" + std::string(failure) + "\",\"http_status_code\":" + std::to_string(status));
}

void HealthEvents::failed(const Host& host, std::string_view failure, bool first_check, uint16_t status) {
  write(host, "health_check_failure_event",
        "\"failure_type\":\"" + std::string(failure) + "\",\"first_check\":" + boolean(first_check) +
            ",\"http_status_code\":" + std::to_string(status));
}

void HealthEvents::added_healthy(const Host& host, bool first_check) {
  write(host, "add_healthy_event", "\"first_check\":" + boolean(first_check));
}

void HealthEvents::succeeded(const Host& host) {
  write(host, "successful_health_check_event", "");
}

void HealthEvents::degraded(const Host& host) {
  write(host, "degraded_healthy_host", "");
}

void HealthEvents::no_longer_degraded(const Host& host) {
  write(host, "no_longer_degraded_host", "");
}

// Members in the order of the message's field numbers, as protobuf writes them.
void HealthEvents::write(const Host& host, std::string_view event, std::string_view content) {
  const auto& logs = cluster_.health_check->event_logs;
  if (logs.empty()) return;
  std::string line = "{\"health_checker_type\":\"" + std::string(checker_) + "\",\"host\":{";
  append_address(host.address(), line);
  line += "},\"cluster_name\":";
  append_json_string(cluster_.name, line);
  const std::string member = ",\"" + std::string(event) + "\":{" + std::string(content) + "}";
  const std::string time = ",\"timestamp\":\"" + timestamp(loop_.wall_now()) + "\"";
  const bool early = event == "eject_unhealthy_event" || event == "add_healthy_event";
  const bool last = event == "successful_health_check_event";
  line += early ? member + time : last ? time : time + member;
  append_locality(host.description().locality.get(), line);
  if (last) line += member;
  line += "}\n";
  for (const auto& log : logs) log->write(line);
}

}  // namespace sluice::upstream
