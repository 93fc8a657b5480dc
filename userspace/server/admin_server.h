#pragma once

#include <memory>

#include "server/admin/handlers.h"
#include "server/admin/server.h"
#include "server/admin/stats_handler.h"
#include "server/admin/view.h"

namespace sluice::server {

class Server;

// The two doors of the control thread: the admin interface (the bootstrap's address, Envoy's endpoints) and the control
// socket (sluicectl and sluice-cni; the same endpoints and the control API).
class AdminServer final : private admin::View {
 public:
  explicit AdminServer(Server& server);
  ~AdminServer();
  Status start_admin();  // before workers: it answers while clusters are resolved
  // Once the start is over, or goes on for so long that somebody may ask why; once.
  Status start_control();
  // Closes both once answers are sent; true when nothing is in flight any more.
  void stop();
  bool idle() const;

 private:
  void add_common(admin::Router& router);

  // admin::View
  admin::State state() override;
  Duration uptime() override;
  WallTime config_loaded_at() override;
  std::string version() override;
  const Options& options() override;
  unsigned concurrency() override;
  config::BootstrapPtr bootstrap() override;
  envoy::config::core::v3::Node node() override;
  std::vector<admin::ListenerStatus> listeners() override;
  admin::Discovered discovered() override;
  std::vector<admin::Waiting> waiting() override;
  std::vector<admin::CertificateStatus> certificates() override;
  WallTime now() override;
  void clusters(std::function<void(std::vector<admin::ClusterStatus>)> done) override;
  void quit() override;
  void drain_listeners(const admin::DrainRequest& request) override;
  void fail_health_checks(bool fail) override;
  void reopen_logs() override;

  Server& server_;
  admin::Handlers handlers_{*this};
  admin::StatsHandler stats_;
  admin::Router admin_router_, control_router_;
  std::unique_ptr<admin::Server> admin_, control_;
};

}  // namespace sluice::server
