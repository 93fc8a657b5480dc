#pragma once

#include <memory>

#include "server/admin/server.h"
#include "server/admin/stats_handler.h"

namespace sluice::server {

class Server;

// The two doors of the control thread: the admin interface (the bootstrap's address, Envoy's endpoints) and the control
// socket (sluicectl and sluice-cni; the same endpoints and the control API).
class AdminServer {
 public:
  explicit AdminServer(Server& server);
  ~AdminServer();
  Status start_admin();     // before workers: it answers while clusters are resolved
  Status start_control();   // after workloads
  // Closes both once answers are sent; true when nothing is in flight any more.
  void stop();
  bool idle() const;

 private:
  void add_common(admin::Router& router);

  Server& server_;
  admin::StatsHandler stats_;
  admin::Router admin_router_, control_router_;
  std::unique_ptr<admin::Server> admin_, control_;
};

}  // namespace sluice::server
