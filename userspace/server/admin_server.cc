#include "server/admin_server.h"

#include <fstream>

#include "core/log.h"
#include "server/control.h"
#include "server/server.h"

namespace sluice::server {

AdminServer::AdminServer(Server& server) : server_(server), stats_(*server.loop_, *server.store_) {}

AdminServer::~AdminServer() = default;

void AdminServer::add_common(admin::Router& router) {
  stats_.add_to(router);
}

Status AdminServer::start_admin() {
  const auto& bootstrap = server_.configuration_.model;
  if (!bootstrap.admin) return {};
  add_common(admin_router_);
  admin_ = std::make_unique<admin::Server>(*server_.loop_, admin_router_);
  if (Status s = admin_->listen(bootstrap.admin->address); !s) return std::move(s).error().prefixed("admin.address");
  const Address& bound = admin_->addresses().front();
  SLUICE_LOG(admin, info, "admin interface on {}", bound.to_string());
  if (const std::string& path = server_.options_.admin_address_path; !path.empty()) {
    std::ofstream out(path);
    out << bound.to_string();
    if (!out.flush()) return Error{"--admin-address-path: cannot write " + path};
  }
  return {};
}

Status AdminServer::start_control() {
  const Options& o = server_.options_;
  std::string path = o.control_socket;
  if (path.empty() && server_.redirector_) path = o.state_dir + "/control.sock";
  if (path.empty() || path == "none") return {};
  add_common(control_router_);
  add_control_routes(control_router_, server_.workloads_.get(), server_.redirector_.get(), server_.workers_);
  control_ = std::make_unique<admin::Server>(*server_.loop_, control_router_);
  SLUICE_ASSIGN(Address address, Address::pipe(path));
  if (Status s = control_->listen(address); !s) return std::move(s).error().prefixed("--control-socket " + path);
  SLUICE_LOG(admin, info, "control socket {}", path);
  return {};
}

void AdminServer::stop() {
  if (admin_) admin_->stop();
  if (control_) control_->stop();
}

bool AdminServer::idle() const { return (!admin_ || admin_->idle()) && (!control_ || control_->idle()); }

}  // namespace sluice::server
