#include "sluice/ext/stream_info.h"

#include <array>

namespace sluice::ext {
namespace {

struct Names {
  ResponseFlag flag;
  std::string_view short_name, long_name;
};

// Names: Envoy's access log, %RESPONSE_FLAGS% and %RESPONSE_FLAGS_LONG%.
constexpr std::array kNames = {
    Names{ResponseFlag::no_healthy_upstream, "UH", "NoHealthyUpstream"},
    Names{ResponseFlag::local_reset, "LR", "LocalReset"},
    Names{ResponseFlag::upstream_remote_reset, "UR", "UpstreamRemoteReset"},
    Names{ResponseFlag::upstream_connection_failure, "UF", "UpstreamConnectionFailure"},
    Names{ResponseFlag::upstream_connection_termination, "UC", "UpstreamConnectionTermination"},
    Names{ResponseFlag::upstream_overflow, "UO", "UpstreamOverflow"},
    Names{ResponseFlag::no_route_found, "NR", "NoRouteFound"},
    Names{ResponseFlag::downstream_connection_termination, "DC", "DownstreamConnectionTermination"},
    Names{ResponseFlag::upstream_retry_limit_exceeded, "URX", "UpstreamRetryLimitExceeded"},
    Names{ResponseFlag::stream_idle_timeout, "SI", "StreamIdleTimeout"},
    Names{ResponseFlag::duration_timeout, "DT", "DurationTimeout"},
    Names{ResponseFlag::no_cluster_found, "NC", "NoClusterFound"},
    Names{ResponseFlag::overload_manager, "OM", "OverloadManagerTerminated"},
    Names{ResponseFlag::downstream_protocol_error, "DPE", "DownstreamProtocolError"},
    Names{ResponseFlag::upstream_protocol_error, "UPE", "UpstreamProtocolError"},
    Names{ResponseFlag::upstream_max_stream_duration, "UMSDR", "UpstreamMaxStreamDurationReached"},
    Names{ResponseFlag::upstream_request_timeout, "UT", "UpstreamRequestTimeout"},
    Names{ResponseFlag::response_from_cache, "RFCF", "ResponseFromCacheFilter"},
    Names{ResponseFlag::no_filter_config, "NFCF", "NoFilterConfigFound"},
    Names{ResponseFlag::rate_limited, "RL", "RateLimited"},
    Names{ResponseFlag::rate_limit_service_error, "RLSE", "RateLimitServiceError"},
    Names{ResponseFlag::unauthorized, "UAEX", "UnauthorizedExternalService"},
    Names{ResponseFlag::invalid_envoy_request_headers, "IH", "InvalidEnvoyRequestHeaders"},
    Names{ResponseFlag::delay_injected, "DI", "DelayInjected"},
    Names{ResponseFlag::fault_injected, "FI", "FaultInjected"},
    Names{ResponseFlag::failed_local_health_check, "LH", "FailedLocalHealthCheck"},
    Names{ResponseFlag::downstream_remote_reset, "DR", "DownstreamRemoteReset"},
    Names{ResponseFlag::drop_overload, "DO", "DropOverload"},
    Names{ResponseFlag::dns_resolution_failed, "DF", "DnsResolutionFailed"},
    Names{ResponseFlag::unconditional_drop_overload, "UDO", "UnconditionalDropOverload"},
};
static_assert(kNames.size() == static_cast<size_t>(ResponseFlag::count));

std::string_view name_of(ResponseFlag flag, std::string_view Names::* which) {
  for (const Names& n : kNames) {
    if (n.flag == flag) return n.*which;
  }
  return "-";
}

}  // namespace

struct ResponseFlagNames {
  static void append(const ResponseFlags& flags, std::string_view Names::* which, std::string& out) {
    for (uint8_t i = 0; i < flags.count_; ++i) {
      if (i > 0) out += ',';
      out += name_of(flags.order_[i], which);
    }
    if (flags.count_ == 0) out += '-';
  }
  static std::string join(const ResponseFlags& flags, std::string_view Names::* which) {
    std::string out;
    append(flags, which, out);
    return out;
  }
};

std::string_view short_name(ResponseFlag flag) {
  return name_of(flag, &Names::short_name);
}
std::string_view long_name(ResponseFlag flag) {
  return name_of(flag, &Names::long_name);
}
std::string ResponseFlags::to_short_string() const {
  return ResponseFlagNames::join(*this, &Names::short_name);
}
void ResponseFlags::append_short(std::string& out) const {
  ResponseFlagNames::append(*this, &Names::short_name, out);
}
void ResponseFlags::append_long(std::string& out) const {
  ResponseFlagNames::append(*this, &Names::long_name, out);
}
std::string ResponseFlags::to_long_string() const {
  return ResponseFlagNames::join(*this, &Names::long_name);
}

}  // namespace sluice::ext
