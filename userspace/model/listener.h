#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/address.h"
#include "core/port_set.h"
#include "core/time.h"
#include "io/loop.h"
#include "model/dependency.h"
#include "model/filter_chain_match.h"
#include "sluice/ext/access_log.h"
#include "sluice/ext/listener_filter.h"
#include "sluice/ext/network_filter.h"
#include "sluice/ext/transport_socket.h"

namespace sluice::model {

enum class TrafficDirection : uint8_t { unspecified, inbound, outbound };

// envoy.config.listener.v3.FilterChain, immutable.
struct FilterChain {
  std::shared_ptr<const std::string> name;  // "" where none is given
  std::vector<ext::NetworkFilterFactory> filters;
  ext::DownstreamTransportFactory transport;  // null: none, bytes go as they are
  Duration transport_socket_connect_timeout{};  // for the transport's handshake; 0: none
  uint64_t hash = 0;  // of the message it came from
};

// envoy.config.listener.v3.ListenerFilter.
struct ListenerFilter {
  ListenerFilter(ext::ListenerFilterFactory f, PortSet d = {})  // NOLINT: most are nothing but a factory
      : factory(std::move(f)), disabled(std::move(d)) {}
  ext::ListenerFilterFactory factory;
  PortSet disabled;  // by the destination as the filters before have left it
};

// envoy.config.listener.v3.Listener, immutable. A virtual listener (bind_to_port false) has no socket: it gets
// connections whose restored original destination is its address.
struct Listener {
  std::shared_ptr<const std::string> name;
  std::string stat_prefix;  // "" : derived from the address, Envoy's "0.0.0.0_15001"
  Address address;
  std::vector<Address> additional_addresses;
  bool bind_to_port = true;
  bool drain_on_health_check = true;  // drain_type: DEFAULT; false: MODIFY_ONLY
  bool use_original_dst = false;  // hand off to the listener of the restored address
  uint32_t buffer_limit = 1 << 20;  // per_connection_buffer_limit_bytes
  TrafficDirection direction = TrafficDirection::unspecified;

  std::vector<ListenerFilter> listener_filters;
  Duration listener_filters_timeout = std::chrono::seconds(15);  // 0: none
  bool continue_on_listener_filters_timeout = false;

  FilterChainMatcher matcher;  // indexes into filter_chains
  std::vector<std::shared_ptr<const FilterChain>> filter_chains;
  std::shared_ptr<const FilterChain> default_filter_chain;  // may be null

  std::vector<ext::AccessLoggerPtr>
      access_logs;  // for connections that get no filter chain, and at their end
  io::SocketOptions socket_options;
  uint32_t tcp_backlog = 128;  // Envoy: net.core.somaxconn
  uint32_t max_connections_per_event = 0;  // max_connections_to_accept_per_socket_event; 0: no limit
  uint64_t max_connections = ~0ull;  // runtime/limit of the listener
  uint64_t hash = 0;  // of the resource it came from
  // Of all but the filter chains: two listeners of which this is equal differ in chains alone, and those chains that
  // are in both keep their connections.
  uint64_t frame_hash = 0;
  std::vector<std::shared_ptr<const Dependency>> needs;  // it serves when these are ready
};

}  // namespace sluice::model
