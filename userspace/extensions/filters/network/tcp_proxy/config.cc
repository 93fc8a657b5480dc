#include "extensions/filters/network/tcp_proxy/config.h"

#include <string>

#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/network/tcp_proxy/tcp_proxy.h"

namespace sluice::extensions::tcp_proxy {
namespace {

using Proto = envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;

Result<ext::NetworkFilterFactory> create(const google::protobuf::Message& message,
                                         ext::FactoryContext& context, std::string_view path) {
  const auto& proto = static_cast<const Proto&>(message);
  std::string at(path);
  auto config = std::make_shared<Config>();
  config->stat_prefix = proto.stat_prefix();

  if (proto.has_weighted_clusters()) {
    uint64_t total = 0;
    for (const auto& c : proto.weighted_clusters().clusters())
      config->targets.push_back({c.name(), total += c.weight()});
    if (total > UINT32_MAX)
      return Error{at + ".weighted_clusters: the weights add up to " + std::to_string(total) +
                   ", more than the 4294967295 that are allowed"};
  } else {
    config->targets.push_back({proto.cluster(), 1});
  }

  if (proto.has_idle_timeout()) config->idle_timeout = to_duration(proto.idle_timeout());
  if (proto.has_max_downstream_connection_duration())
    config->max_connection_duration = to_duration(proto.max_downstream_connection_duration());
  if (proto.has_max_connect_attempts()) config->max_connect_attempts = proto.max_connect_attempts().value();
  if (proto.has_backoff_options()) {
    const auto& b = proto.backoff_options();
    config->backoff_base = to_duration(b.base_interval());
    config->backoff_max = b.has_max_interval() ? to_duration(b.max_interval()) : config->backoff_base * 10;
    if (config->backoff_max < config->backoff_base)
      return Error{at + ".backoff_options: max_interval must be at least base_interval"};
  }

  for (int i = 0; i < proto.access_log_size(); ++i) {
    SLUICE_ASSIGN(auto logger, context.make_access_logger(proto.access_log(i),
                                                          at + ".access_log[" + std::to_string(i) + "]"));
    config->access_logs.push_back(std::move(logger));
  }
  // access_log_options takes the place of the two deprecated fields; Envoy allows one form or the other.
  if (proto.has_access_log_options()) {
    const auto& o = proto.access_log_options();
    if (proto.has_access_log_flush_interval() || proto.flush_access_log_on_connected())
      return Error{at +
                   ".access_log_options: not together with access_log_flush_interval or "
                   "flush_access_log_on_connected"};
    if (o.has_access_log_flush_interval())
      config->access_log_flush_interval = to_duration(o.access_log_flush_interval());
    config->access_log_on_connected = o.flush_access_log_on_connected();
  } else {
    if (proto.has_access_log_flush_interval())
      config->access_log_flush_interval = to_duration(proto.access_log_flush_interval());
    config->access_log_on_connected = proto.flush_access_log_on_connected();
  }
  return make_factory(std::move(config));
}

}  // namespace

ext::Extension<ext::NetworkFilterFactory> extension() {
  return {
      .name = "envoy.filters.network.tcp_proxy",
      .type = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
      .terminal = true,
      .create = &create,
      .honoured = {
          {.message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
           .fields =
               "stat_prefix cluster weighted_clusters idle_timeout access_log max_connect_attempts "
               "backoff_options "
               "max_downstream_connection_duration access_log_flush_interval flush_access_log_on_connected "
               "access_log_options"},
          {.message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster",
           .fields = "clusters"},
          {.message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
           .fields = "name weight"},
          {.message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions",
           .fields = "access_log_flush_interval flush_access_log_on_connected"},
          {.message = "envoy.config.core.v3.BackoffStrategy", .fields = "base_interval max_interval"},
      }};
}

}  // namespace sluice::extensions::tcp_proxy
