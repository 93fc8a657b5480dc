#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/loop.h"
#include "model/cluster.h"
#include "proxy/upstream/host.h"

namespace sluice::upstream {

// Writes envoy.data.core.v3.HealthCheckEvent as JSON, one a line, to the files of event_logger and event_log_path. As
// Envoy does, but for the host's metadata, of which nothing is kept here.
class HealthEvents {
 public:
  HealthEvents(io::Loop& loop, const model::Cluster& cluster);
  // `failure`: "ACTIVE", "PASSIVE", "NETWORK", "NETWORK_TIMEOUT".
  // `status`: HTTP's; 0: there was none.
  void ejected(const Host& host, std::string_view failure, uint16_t status);
  void failed(const Host& host, std::string_view failure, bool first_check, uint16_t status);
  void added_healthy(const Host& host, bool first_check);
  void succeeded(const Host& host);
  void degraded(const Host& host);
  void no_longer_degraded(const Host& host);

 private:
  void write(const Host& host, std::string_view event, std::string_view content);
  io::Loop& loop_;
  const model::Cluster& cluster_;
  const std::string_view checker_;  // "HTTP", "TCP", "GRPC"
};

}  // namespace sluice::upstream
