#include "config/translate_config_source.h"

#include "config/convert.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "envoy/config/core/v3/grpc_service.pb.h"

namespace sluice::config {

namespace core = envoy::config::core::v3;

namespace {

Status check_version(core::ApiVersion version, const FieldPath& path) {
  if (version == core::V3) return {};
  return refuse(path, "V2 (and AUTO) xDS transport protocol versions are deprecated; write V3");
}

Result<model::GrpcService> to_grpc_service(const core::GrpcService& in, const FieldPath& path) {
  model::GrpcService out;
  if (in.target_specifier_case() != core::GrpcService::kEnvoyGrpc)
    return refuse(path.field("google_grpc"),
                  "is Google's own gRPC library; write envoy_grpc with the cluster of the control plane");
  const FieldPath at = path.field("envoy_grpc");
  const auto& envoy = in.envoy_grpc();
  out.cluster = envoy.cluster_name();
  out.authority = envoy.authority();
  out.max_receive_message_length = envoy.max_receive_message_length().value();
  if (envoy.has_retry_policy()) {
    const FieldPath retry = at.field("retry_policy");
    const auto& backoff = envoy.retry_policy().retry_back_off();
    if (backoff.has_base_interval()) out.retry_base = to_milliseconds(backoff.base_interval());
    out.retry_max =
        backoff.has_max_interval() ? to_milliseconds(backoff.max_interval()) : 10 * out.retry_base;
    if (out.retry_max < out.retry_base)
      return refuse(retry.field("retry_back_off"),
                    "max_interval must be greater than or equal to base_interval");
  }
  for (int i = 0; i < in.initial_metadata_size(); ++i) {
    const auto& header = in.initial_metadata(i);
    const FieldPath metadata = path.field("initial_metadata");
    const FieldPath item = metadata.item(static_cast<size_t>(i));
    if (header.value().find('%') != std::string::npos)
      return refuse(item.field("value"), "formatters are not supported here by this version of Sluice");
    out.initial_metadata.emplace_back(header.key(), header.value());
  }
  return out;
}

}  // namespace

Result<model::ControlPlane> to_control_plane(const core::ApiConfigSource& in, const FieldPath& path) {
  model::ControlPlane out;
  using Api = core::ApiConfigSource;
  SLUICE_TRY(check_version(in.transport_api_version(), path.field("transport_api_version")));
  switch (in.api_type()) {
    case Api::GRPC:
    case Api::AGGREGATED_GRPC:
      break;
    case Api::DELTA_GRPC:
    case Api::AGGREGATED_DELTA_GRPC:
      out.delta = true;
      break;
    default:
      return refuse(path.field("api_type"),
                    Api::ApiType_Name(in.api_type()) +
                        " is not supported by this version of Sluice; write GRPC, DELTA_GRPC, or "
                        "path_config_source for files");
  }
  if (!in.cluster_names().empty())
    return refuse(
        path.field("cluster_names"),
        "a gRPC config source takes no cluster names; write grpc_services with envoy_grpc.cluster_name");
  const FieldPath services = path.field("grpc_services");
  if (in.grpc_services().empty()) return refuse(services, "is necessary: which control plane?");
  if (in.grpc_services_size() > 2)
    return refuse(services.item(2), "a control plane and one to fail over to: no more than two");
  for (int i = 0; i < in.grpc_services_size(); ++i) {
    SLUICE_ASSIGN(auto service, to_grpc_service(in.grpc_services(i), services.item(static_cast<size_t>(i))));
    out.services.push_back(std::move(service));
  }
  out.set_node_on_first_message_only = in.set_node_on_first_message_only();
  if (in.has_rate_limit_settings()) {
    const auto& limit = in.rate_limit_settings();
    out.rate_limit = {value_or(limit.has_max_tokens(), limit.max_tokens(), uint32_t{100}),
                      limit.has_fill_rate() ? limit.fill_rate().value() : 10.0};
  }
  return out;
}

Result<model::ConfigSource> to_config_source(const core::ConfigSource& in, const FieldPath& path) {
  using Kind = model::ConfigSource::Kind;
  model::ConfigSource out;
  SLUICE_TRY(check_version(in.resource_api_version(), path.field("resource_api_version")));
  if (in.has_initial_fetch_timeout()) out.initial_fetch_timeout = to_duration(in.initial_fetch_timeout());
  switch (in.config_source_specifier_case()) {
    case core::ConfigSource::kAds:
      out.kind = Kind::ads;
      break;
    case core::ConfigSource::kSelf:
      return refuse(path.field("self"), "is not supported by this version of Sluice; write ads");
    case core::ConfigSource::kPath:
      out.kind = Kind::file;
      out.path = in.path();
      return out;
    case core::ConfigSource::kPathConfigSource:
      out.kind = Kind::file;
      out.path = in.path_config_source().path();
      out.watched_directory = in.path_config_source().watched_directory().path();
      return out;
    case core::ConfigSource::kApiConfigSource: {
      const FieldPath at = path.field("api_config_source");
      using Api = core::ApiConfigSource;
      const auto type = in.api_config_source().api_type();
      if (type == Api::AGGREGATED_GRPC || type == Api::AGGREGATED_DELTA_GRPC)
        return refuse(at.field("api_type"), Api::ApiType_Name(type) +
                                                " has no place here: write ads: {} and the control plane as "
                                                "dynamic_resources.ads_config");
      out.kind = Kind::control_plane;
      SLUICE_ASSIGN(out.control_plane, to_control_plane(in.api_config_source(), at));
      return out;
    }
    default:
      return refuse(path, "one of path_config_source, api_config_source and ads is necessary");
  }
  return out;
}

}  // namespace sluice::config
