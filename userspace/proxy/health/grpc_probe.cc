#include "proxy/health/grpc_probe.h"

#include <utility>

#include "core/log.h"
#include "http/grpc.h"
#include "http/status.h"

namespace sluice::health {

using http::Name;

namespace {

constexpr uint64_t kServing = 1;  // HealthCheckResponse.SERVING
constexpr size_t kFrameHeader = 5;  // flags, and a length of four bytes
constexpr size_t kMessageMax = 64 * 1024;
constexpr int64_t kOk = 0, kInternal = 13;

// Protobuf's encoding: https://protobuf.dev/programming-guides/encoding/
void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

bool take_varint(std::string_view& in, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 70 && !in.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(in.front());
    in.remove_prefix(1);
    if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool skip(std::string_view& in, uint64_t bytes) {
  if (bytes > in.size()) return false;
  in.remove_prefix(bytes);
  return true;
}

// "150m": Envoy's, in the largest unit that a number of eight digits can hold.
std::string grpc_timeout(Duration timeout) {
  auto ms = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count());
  constexpr uint64_t kMax = 99'999'999;
  if (ms <= kMax) return std::to_string(ms) + "m";
  if (ms / 1000 <= kMax) return std::to_string(ms / 1000) + "S";
  return std::to_string(std::min(ms / 60000, kMax)) + "M";
}

}  // namespace

std::string health_check_request(std::string_view service) {
  std::string message;
  if (!service.empty()) {
    message += '\x0a';  // field 1, a string
    append_varint(message, service.size());
    message += service;
  }
  std::string frame(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(message.size() >> shift & 0xff);
  return frame + message;
}

std::optional<uint64_t> parse_health_check_response(std::string_view in) {
  uint64_t status = 0;
  while (!in.empty()) {
    uint64_t tag = 0, value = 0;
    if (!take_varint(in, tag) || tag >> 3 == 0) return std::nullopt;
    switch (tag & 7) {
      case 0:
        if (!take_varint(in, value)) return std::nullopt;
        if (tag >> 3 == 1) status = value;
        break;
      case 1:
        if (!skip(in, 8)) return std::nullopt;
        break;
      case 2:
        if (!take_varint(in, value) || !skip(in, value)) return std::nullopt;
        break;
      case 5:
        if (!skip(in, 4)) return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
  }
  return status;
}

GrpcProbe::GrpcProbe(ProbeContext& context, const model::GrpcHealthCheck& config, Target target, Owner& owner)
    : HttpExchange(context, std::move(target), owner, true, true), config_(config) {}

void GrpcProbe::make_request(http::HeaderMap& headers, std::string& body) {
  received_.clear();
  serving_status_.reset();
  headers.add_static(Name::method, "POST");
  headers.add(Name::authority, target().authority);
  headers.add_static(Name::path, "/grpc.health.v1.Health/Check");
  headers.add_static(Name::scheme, "http");
  headers.add_static(Name::te, "trailers");
  headers.add_static(Name::content_type, "application/grpc");
  headers.add_static(Name::user_agent, "Envoy/HC");
  add_headers(config_.metadata, headers);
  headers.set(Name::grpc_timeout, grpc_timeout(context().check.timeout));
  body = health_check_request(config_.service_name);
}

void GrpcProbe::response_headers(http::HeaderMapPtr headers, bool end_stream) {
  const uint16_t status = http::status_of(*headers);
  const std::optional<int64_t> grpc = http::grpc_status(nullptr, headers.get(), 0, true);
  const bool has_status = headers->has(Name::grpc_status) && grpc;
  if (status != 200) {
    if (end_stream && has_status) return complete(*grpc, true, "");
    return complete(http::grpc_status_of_http(status), end_stream, "not HTTP 200");
  }
  if (!http::is_grpc_response(*headers, end_stream)) return complete(kInternal, end_stream, "not gRPC");
  if (!end_stream) return;
  complete(has_status ? *grpc : kInternal, true, "ended by its head");
}

void GrpcProbe::response_data(const Buffer& data, bool end_stream) {
  if (end_stream) return complete(kInternal, true, "no trailers");
  if (received_.size() + data.size() > kMessageMax) return complete(kInternal, false, "too long");
  received_ += data.to_string();
  while (received_.size() >= kFrameHeader) {
    size_t length = 0;
    for (size_t i = 1; i < kFrameHeader; ++i) length = length << 8 | static_cast<uint8_t>(received_[i]);
    if (length > kMessageMax) return complete(kInternal, false, "too long");
    if (received_.size() < kFrameHeader + length) return;
    if (length > 0) {
      if (serving_status_) return complete(kInternal, false, "more than one message");
      if (received_[0] == 0)
        serving_status_ =
            parse_health_check_response(std::string_view(received_).substr(kFrameHeader, length));
      if (!serving_status_) return complete(kInternal, false, "no HealthCheckResponse");
    }
    received_.erase(0, kFrameHeader + length);
  }
}

void GrpcProbe::response_trailers(const http::HeaderMap& trailers) {
  const std::optional<int64_t> status = http::grpc_status(&trailers, nullptr, 0, true);
  complete(trailers.has(Name::grpc_status) && status ? *status : kInternal, true, "");
}

void GrpcProbe::complete(int64_t grpc_status, bool whole, std::string_view why) {
  const bool well = grpc_status == kOk && serving_status_ == kServing;
  if (!well) {
    SLUICE_LOG(upstream, debug, "cluster {}: health check of {} failed: grpc-status {}, serving status {} {}",
               context().cluster->name, target().address.to_string(), grpc_status,
               serving_status_ ? std::to_string(*serving_status_) : "unknown", why);
  }
  conclude({.kind = well ? Answer::Kind::well : Answer::Kind::unwell}, whole);
}

}  // namespace sluice::health
