#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "server/admin/server.h"
#include "server/admin/view.h"
#include "server/worker_thread.h"
#include "server/workloads.h"

namespace sluice::server {

// The control API on sluiced's Unix socket, for sluicectl and sluice-cni: POST, GET and DELETE of /workloads, GET of
// /connections. JSON both ways; the shapes stand in tools/sluicectl/control_client.h. `redirector` is null without eBPF,
// what `workloads` returns before the start is over.
void add_control_routes(admin::Router& router, admin::View& view, std::function<Workloads*()> workloads,
                        redirect::Redirector* redirector,
                        std::vector<std::unique_ptr<WorkerThread>>& workers);

}  // namespace sluice::server
