#pragma once

#include <optional>
#include <string>

#include "proxy/health/http_probe.h"

namespace sluice::health {

// grpc.health.v1.Health/Check. https://github.com/grpc/grpc/blob/master/doc/health-checking.md
class GrpcProbe final : public HttpExchange {
 public:
  GrpcProbe(ProbeContext& context, const model::GrpcHealthCheck& config, Target target, Owner& owner);

 private:
  void make_request(http::HeaderMap& headers, std::string& body) override;
  void response_headers(http::HeaderMapPtr headers, bool end_stream) override;
  void response_data(const Buffer& data, bool end_stream) override;
  void response_trailers(const http::HeaderMap& trailers) override;
  void complete(int64_t grpc_status, bool whole, std::string_view why);

  const model::GrpcHealthCheck& config_;
  std::string received_;  // what has come of messages
  std::optional<uint64_t> serving_status_;
};

// The messages, with gRPC's framing. https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto
std::string health_check_request(std::string_view service);
// The field `status` of a HealthCheckResponse, which is 0 where it is missing; nothing: this is no such message.
std::optional<uint64_t> parse_health_check_response(std::string_view message);

}  // namespace sluice::health
