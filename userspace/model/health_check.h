#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/time.h"
#include "model/matchers.h"
#include "model/route.h"
#include "model/subsets.h"

namespace sluice::ext {
class LogFile;
}

namespace sluice::model {

// Byte strings that have to come in this order, with anything between them. Empty: nothing is asked for.
using PayloadPattern = std::vector<std::string>;

struct HttpHealthCheck {
  struct Statuses {
    uint16_t begin, end;  // [begin, end)
  };
  static bool among(const std::vector<Statuses>& ranges, uint16_t status) {
    return std::ranges::any_of(ranges, [&](Statuses r) { return status >= r.begin && status < r.end; });
  }
  std::string host;  // "": the cluster's name
  std::string path;
  std::string method = "GET";
  std::string send;  // the request's body
  PayloadPattern receive;
  uint64_t response_buffer_size = 1024;  // bytes of the body that are looked at; 0: all
  std::vector<Statuses> expected = {{200, 201}}, retriable;
  HeaderRules headers;
  std::optional<StringMatcher> service_name;
  bool http2 = false;
};

struct TcpHealthCheck {
  std::string send;
  PayloadPattern receive;  // empty: to connect is enough
};

struct GrpcHealthCheck {
  std::string service_name;
  std::string authority;  // "": the cluster's name
  HeaderRules metadata;
};

// envoy.config.core.v3.HealthCheck. Defaults are Envoy's; durations are whole milliseconds.
struct HealthCheck {
  Duration timeout{}, interval{};
  Duration initial_jitter{}, interval_jitter{};
  uint32_t interval_jitter_percent = 0;
  Duration unhealthy_interval{}, unhealthy_edge_interval{}, healthy_edge_interval{};
  // Until the cluster has had a connection.
  Duration no_traffic_interval = std::chrono::seconds(60), no_traffic_healthy_interval{};
  uint32_t unhealthy_threshold = 1, healthy_threshold = 1;
  bool reuse_connection = true;
  bool always_log_failures = false, always_log_success = false;
  std::vector<std::shared_ptr<ext::LogFile>> event_logs;
  std::vector<std::string> alpn;  // tls_options: instead of the transport socket's; empty: those
  // transport_socket_match_criteria: instead of the hosts' metadata; null: that
  std::shared_ptr<const LbMetadata> transport_metadata;
  std::variant<HttpHealthCheck, TcpHealthCheck, GrpcHealthCheck> kind;
};

}  // namespace sluice::model
