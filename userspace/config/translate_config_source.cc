#include "config/translate_config_source.h"

#include "config/convert.h"
#include "config/print.h"
#include "core/ascii.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "envoy/config/core/v3/grpc_service.pb.h"

namespace sluice::config {

namespace core = envoy::config::core::v3;
using Source = model::ConfigSource;

namespace {

Status check_version(core::ApiVersion version, const FieldPath& path) {
  // Nothing said is V3: the API's documentation has it so.
  if (version != core::V2) return {};
  return refuse(path, "V2 is the API that Envoy left in 2021; write V3, and v3 resources");
}

// Metadata goes out as it is: nothing of a request is there that could fill an operator in.
Result<std::string> to_metadata_value(const std::string& in, const FieldPath& path) {
  std::string out;
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i] == '%' && (i + 1 >= in.size() || in[++i] != '%'))
      return refuse(
          path, "operators such as %HOSTNAME% are not supported here; write the value itself, and %% for %");
    out += in[i];
  }
  return out;
}

// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests, Custom-Metadata
Result<std::string> to_metadata_name(std::string name, const FieldPath& path) {
  name = to_lower(name);
  if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") != std::string::npos)
    return refuse(path, "'" + name + "' is no name of metadata: letters, digits, '-', '_' and '.'");
  for (const char* reserved : {"host", "te", "content-type", "content-length", "connection", "keep-alive",
                               "proxy-connection", "transfer-encoding", "upgrade"}) {
    if (name == reserved)
      return refuse(path, "'" + name + "' is a field of the call itself and may not be set" +
                              (name == "host" ? "; envoy_grpc.authority may" : ""));
  }
  return name;
}

Result<model::GrpcService> to_grpc_service(const core::GrpcService& in, const FieldPath& path) {
  if (in.has_google_grpc())
    return refuse(
        path.field("google_grpc"),
        "is not supported: use envoy_grpc with the name of a static cluster, which has the address and "
        "explicit_http_config.http2_protocol_options");
  model::GrpcService out;
  const auto& grpc = in.envoy_grpc();
  const FieldPath at = path.field("envoy_grpc");
  out.cluster = grpc.cluster_name();
  out.authority = grpc.authority();
  out.max_receive_message_length =
      value_or(grpc.has_max_receive_message_length(), grpc.max_receive_message_length(), 0u);
  if (grpc.retry_policy().has_retry_back_off()) {
    const auto& back_off = grpc.retry_policy().retry_back_off();
    out.retry_base = to_milliseconds(back_off.base_interval());
    if (out.retry_base < std::chrono::milliseconds(1)) out.retry_base = std::chrono::milliseconds(1);
    out.retry_max =
        back_off.has_max_interval() ? to_milliseconds(back_off.max_interval()) : out.retry_base * 10;
    const FieldPath policy = at.field("retry_policy");
    if (out.retry_max < out.retry_base)
      return refuse(policy.field("retry_back_off"),
                    "max_interval must be greater than or equal to the base_interval");
  }
  const FieldPath metadata = path.field("initial_metadata");
  for (int i = 0; i < in.initial_metadata_size(); ++i) {
    const auto& pair = in.initial_metadata(i);
    const FieldPath item = metadata.item(static_cast<size_t>(i));
    SLUICE_ASSIGN(std::string name, to_metadata_name(pair.key(), item.field("key")));
    SLUICE_ASSIGN(std::string value, to_metadata_value(pair.value(), item.field("value")));
    if (name.ends_with("-bin")) value = base64(value);
    out.initial_metadata.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

}  // namespace

Result<model::ControlPlane> to_control_plane(const core::ApiConfigSource& in, const FieldPath& path) {
  using Api = core::ApiConfigSource;
  model::ControlPlane out;
  SLUICE_TRY(check_version(in.transport_api_version(), path.field("transport_api_version")));
  switch (in.api_type()) {
    case Api::GRPC:
      break;
    case Api::DELTA_GRPC:
      out.delta = true;
      break;
    case Api::AGGREGATED_GRPC:
    case Api::AGGREGATED_DELTA_GRPC:
      return refuse(
          path.field("api_type"),
          "type must be of non-aggregated gRPC: write GRPC or DELTA_GRPC; what shares the aggregated stream "
          "says `ads: {}` instead");
    default:
      return refuse(path.field("api_type"),
                    Api::ApiType_Name(in.api_type()) +
                        " is not supported by this version of Sluice; it has GRPC and DELTA_GRPC");
  }
  if (!in.cluster_names().empty())
    return refuse(path.field("cluster_names"),
                  "is for REST: a gRPC source names its cluster in grpc_services[0].envoy_grpc.cluster_name");
  const FieldPath services = path.field("grpc_services");
  if (in.grpc_services_size() != 1)
    return refuse(services,
                  in.grpc_services_size() == 0
                      ? "is missing: API configs must have a gRPC service"
                      : "must have no more than 1 gRPC services specified; put several endpoints into its "
                        "cluster");
  SLUICE_ASSIGN(auto service, to_grpc_service(in.grpc_services(0), services.item(0)));
  out.services.push_back(std::move(service));
  out.set_node_on_first_message_only = in.set_node_on_first_message_only();
  if (in.has_rate_limit_settings()) {
    const auto& limit = in.rate_limit_settings();
    out.rate_limit = {value_or(limit.has_max_tokens(), limit.max_tokens(), 100u),
                      value_or(limit.has_fill_rate(), limit.fill_rate(), 10.0)};
    if (out.rate_limit->first == 0)
      return refuse(path.field("rate_limit_settings"), "max_tokens: 0 would never let a request out");
  }
  return out;
}

Result<Source> to_config_source(const core::ConfigSource& in, const FieldPath& path) {
  Source out;
  SLUICE_TRY(check_version(in.resource_api_version(), path.field("resource_api_version")));
  if (in.has_initial_fetch_timeout()) out.initial_fetch_timeout = to_milliseconds(in.initial_fetch_timeout());
  switch (in.config_source_specifier_case()) {
    case core::ConfigSource::kAds:
      out.kind = Source::Kind::ads;
      return out;
    case core::ConfigSource::kApiConfigSource: {
      out.kind = Source::Kind::control_plane;
      SLUICE_ASSIGN(out.control_plane,
                    to_control_plane(in.api_config_source(), path.field("api_config_source")));
      return out;
    }
    case core::ConfigSource::kPath:
      out.kind = Source::Kind::file;
      out.path = in.path();
      if (out.path.empty()) return refuse(path.field("path"), "is empty: name a file");
      return out;
    case core::ConfigSource::kPathConfigSource:
      out.kind = Source::Kind::file;
      out.path = in.path_config_source().path();
      out.watched_directory = in.path_config_source().watched_directory().path();
      return out;
    case core::ConfigSource::kSelf:
      return refuse(path.field("self"),
                    "Missing config source specifier: self has no meaning in Envoy either; write ads, "
                    "api_config_source or path_config_source");
    default:
      return refuse(path, "says no source: write ads, api_config_source or path_config_source");
  }
}

Result<model::DynamicResources> to_dynamic_resources(
    const envoy::config::bootstrap::v3::Bootstrap_DynamicResources& in, const FieldPath& path) {
  model::DynamicResources out;
  if (in.has_ads_config()) {
    SLUICE_ASSIGN(out.ads, to_control_plane(in.ads_config(), path.field("ads_config")));
  }
  if (in.has_cds_config()) {
    SLUICE_ASSIGN(out.cds, to_config_source(in.cds_config(), path.field("cds_config")));
  }
  if (in.has_lds_config()) {
    SLUICE_ASSIGN(out.lds, to_config_source(in.lds_config(), path.field("lds_config")));
  }
  return out;
}

}  // namespace sluice::config
