#include "extensions/filters/http/fault/config.h"

#include "envoy/extensions/filters/http/fault/v3/fault.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/http/fault/fault.h"

namespace sluice::extensions::fault {
namespace {

namespace proto = envoy::extensions::filters::http::fault::v3;

Result<std::shared_ptr<const Settings>> to_settings(const google::protobuf::Message& message,
                                                    std::string_view path) {
  const auto& in = static_cast<const proto::HTTPFault&>(message);
  auto out = std::make_shared<Settings>();
  if (in.has_delay()) {
    Delay& delay = out->delay.emplace();
    delay.fraction = to_fraction(in.delay().percentage());
    delay.from_header = in.delay().has_header_delay();
    // In milliseconds, as Envoy counts it.
    delay.fixed = std::chrono::floor<std::chrono::milliseconds>(to_duration(in.delay().fixed_delay()));
  }
  if (in.has_abort()) {
    Abort& abort = out->abort.emplace();
    abort.fraction = to_fraction(in.abort().percentage());
    abort.from_header = in.abort().has_header_abort();
    if (in.abort().error_type_case() == proto::FaultAbort::kHttpStatus)
      abort.http_status = static_cast<uint16_t>(in.abort().http_status());
    if (in.abort().error_type_case() == proto::FaultAbort::kGrpcStatus)
      abort.grpc_status = in.abort().grpc_status();
  }
  if (in.has_response_rate_limit()) {
    RateLimit& limit = out->response_rate_limit.emplace();
    limit.fraction = to_fraction(in.response_rate_limit().percentage());
    limit.from_header = in.response_rate_limit().has_header_limit();
    limit.kilobytes = in.response_rate_limit().fixed_limit().limit_kbps();
  }
  out->upstream_cluster = in.upstream_cluster();
  SLUICE_ASSIGN(out->headers, to_header_matchers(in.headers(), std::string(path) + ".headers"));
  out->downstream_nodes.assign(in.downstream_nodes().begin(), in.downstream_nodes().end());
  if (in.has_max_active_faults()) out->max_active_faults = in.max_active_faults().value();
  out->downstream_cluster_stats = !in.disable_downstream_cluster_stats();
  return std::shared_ptr<const Settings>(std::move(out));
}

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                      std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(message, path));
  return make_factory(std::move(settings));
}

Result<ext::HttpRouteConfigPtr> create_route(const google::protobuf::Message& message, ext::FactoryContext&,
                                             std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(message, path));
  return ext::HttpRouteConfigPtr(std::move(settings));
}

}  // namespace

ext::HttpFilterExtension extension() {
  constexpr std::string_view kNoRuntime = "layered_runtime is refused, so nothing overrides what stands here";
  constexpr std::string_view kType = "envoy.extensions.filters.http.fault.v3.HTTPFault";
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.fault";
  e.type = kType;
  e.create = &create;
  e.route_type = kType;
  e.create_route = &create_route;
  e.honoured = {
      {.message = kType,
       .fields = "delay abort upstream_cluster headers downstream_nodes max_active_faults "
                 "disable_downstream_cluster_stats response_rate_limit",
       .meaningless = {{"delay_percent_runtime", kNoRuntime},
                       {"abort_percent_runtime", kNoRuntime},
                       {"delay_duration_runtime", kNoRuntime},
                       {"abort_http_status_runtime", kNoRuntime},
                       {"max_active_faults_runtime", kNoRuntime},
                       {"response_rate_limit_percent_runtime", kNoRuntime},
                       {"abort_grpc_status_runtime", kNoRuntime}}},
      {.message = "envoy.extensions.filters.http.fault.v3.FaultAbort",
       .fields = "http_status grpc_status header_abort percentage"},
      {.message = "envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort", .fields = ""},
      {.message = "envoy.extensions.filters.common.fault.v3.FaultDelay",
       .fields = "fixed_delay header_delay percentage"},
      {.message = "envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay", .fields = ""},
      {.message = "envoy.extensions.filters.common.fault.v3.FaultRateLimit",
       .fields = "fixed_limit header_limit percentage"},
      {.message = "envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit", .fields = "*"},
      {.message = "envoy.extensions.filters.common.fault.v3.FaultRateLimit.HeaderLimit", .fields = ""},
  };
  return e;
}

}  // namespace sluice::extensions::fault
