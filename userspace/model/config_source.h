#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/time.h"

// Where resources are discovered. https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
namespace sluice::model {

// envoy.config.core.v3.GrpcService, envoy_grpc: a control plane behind an ordinary cluster.
struct GrpcService {
  std::string cluster;
  std::string authority;  // "": the cluster's name
  std::vector<std::pair<std::string, std::string>> initial_metadata;
  Duration retry_base = std::chrono::milliseconds(500), retry_max = std::chrono::seconds(30);
  uint32_t max_receive_message_length = 0;  // bytes; 0: no limit but Sluice's own, which no push comes near
  bool operator==(const GrpcService&) const = default;
};

// envoy.config.core.v3.ApiConfigSource of a gRPC type.
struct ControlPlane {
  bool delta = false;
  std::vector<GrpcService> services;  // one
  bool set_node_on_first_message_only = false;
  std::optional<std::pair<uint32_t, double>>
      rate_limit;  // rate_limit_settings: max_tokens, fill_rate a second
  bool operator==(const ControlPlane&) const = default;
};

// envoy.config.core.v3.ConfigSource. Two that are equal share a stream.
struct ConfigSource {
  enum class Kind : uint8_t { ads, control_plane, file };
  Kind kind = Kind::ads;
  ControlPlane control_plane;
  std::string path;  // file
  std::string watched_directory;  // file; "": the file itself is watched for renames onto it
  Duration initial_fetch_timeout = std::chrono::seconds(15);  // 0: waits for ever
  bool operator==(const ConfigSource&) const = default;
};

// envoy.config.bootstrap.v3.Bootstrap.DynamicResources.
struct DynamicResources {
  std::optional<ConfigSource> lds, cds;
  std::optional<ControlPlane> ads;
};

}  // namespace sluice::model
