#include "server/admin/server_info.h"

#include <google/protobuf/duration.pb.h>

#include "envoy/config/core/v3/base.pb.h"

namespace sluice::admin {
namespace {

void set_duration(Duration from, google::protobuf::Duration* to) {
  to->set_seconds(std::chrono::duration_cast<std::chrono::seconds>(from).count());
  to->set_nanos(static_cast<int32_t>((from % std::chrono::seconds(1)).count()));
}

// Flags that Sluice does not have keep Envoy's defaults.
void set_options(View& view, envoy::admin::v3::CommandLineOptions* to) {
  const server::Options& o = view.options();
  to->set_concurrency(view.concurrency());
  to->set_config_path(o.config_path);
  to->set_config_yaml(o.config_yaml);
  to->set_admin_address_path(o.admin_address_path);
  to->set_log_level(o.log_level);
  to->set_component_log_level(o.component_log_level);
  to->set_log_format(o.log_format);
  to->set_log_path(o.log_path);
  to->set_service_cluster(o.service_cluster);
  to->set_service_node(o.service_node);
  to->set_service_zone(o.service_zone);
  set_duration(o.file_flush_interval, to->mutable_file_flush_interval());
  set_duration(o.drain_time, to->mutable_drain_time());
  to->set_drain_strategy(o.drain_gradually ? envoy::admin::v3::CommandLineOptions::Gradual
                                           : envoy::admin::v3::CommandLineOptions::Immediate);
  to->set_mode(o.validate_only ? envoy::admin::v3::CommandLineOptions::Validate
                               : envoy::admin::v3::CommandLineOptions::Serve);
  to->set_disable_hot_restart(true);
}

}  // namespace

envoy::admin::v3::ServerInfo server_info(View& view, State state) {
  envoy::admin::v3::ServerInfo info;
  // Envoy's form: revision/version/tree/build/TLS library.
  info.set_version("sluice/" + view.version() + "/Clean/RELEASE/none");
  info.set_state(static_cast<envoy::admin::v3::ServerInfo::State>(state));
  set_duration(std::chrono::floor<std::chrono::seconds>(view.uptime()), info.mutable_uptime_current_epoch());
  *info.mutable_uptime_all_epochs() = info.uptime_current_epoch();
  info.set_hot_restart_version("disabled");
  set_options(view, info.mutable_command_line_options());
  *info.mutable_node() = view.node();
  return info;
}

}  // namespace sluice::admin
