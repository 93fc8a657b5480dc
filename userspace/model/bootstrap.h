#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/address.h"
#include "io/loop.h"
#include "model/config_set.h"
#include "model/config_source.h"
#include "sluice/ext/tracer.h"

namespace sluice::model {

// envoy.config.core.v3.Node: who this proxy is to a control plane and in its logs.
struct Node {
  std::string id, cluster;
  std::string region, zone, sub_zone;
};

// envoy.config.bootstrap.v3.Admin with an address; without one there is no admin interface.
struct Admin {
  Address address;
  io::SocketOptions socket_options;
};

// What sluiced starts with.
struct Bootstrap {
  Node node;
  std::optional<Admin> admin;
  std::string local_cluster;  // cluster_manager.local_cluster_name
  std::shared_ptr<const ConfigSet> config;
  DynamicResources dynamic;
  ext::TracerFactory default_tracer;  // tracing.http; empty: none
};

}  // namespace sluice::model
