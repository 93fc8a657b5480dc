#include "server/control.h"

#include <cerrno>

#include "redirect/json.h"

namespace sluice::server {
namespace {

using admin::Request;
using admin::Response;

Response refuse(int status, const std::string& why) {
  Response r = Response::json(Json::object().set("error", why).dump());
  r.status = status;
  return r;
}

Response refuse(const Error& e) {
  int status = e.code == ENOENT || e.code == ESRCH   ? 404
               : e.code == EEXIST || e.code == EBUSY ? 409
               : e.code == EINVAL                    ? 400
                                                     : 500;
  return refuse(status, e.message);
}

Json address(const Address& a) {
  return a.valid() ? Json(a.to_string()) : Json();
}

Json to_json(const proxy::ConnectionSnapshot& c) {
  Json j = Json::object();
  j.set("id", c.id).set("workload", c.workload);
  j.set("downstream",
        Json::object().set("local", address(c.downstream_local)).set("remote", address(c.downstream_remote)));
  j.set("original_destination", address(c.original_destination));
  j.set("listener", c.listener).set("filter_chain", c.filter_chain).set("cluster", c.cluster);
  j.set("upstream",
        Json::object().set("local", address(c.upstream_local)).set("remote", address(c.upstream_remote)));
  j.set("bytes_received", c.bytes_received).set("bytes_sent", c.bytes_sent).set("age_ms", c.age_ms);
  return j;
}

Response no_workloads(const redirect::Redirector* redirector) {
  if (!redirector) return refuse(409, "sluiced runs without interception; start it with --redirect ebpf");
  return refuse(503, "sluiced is still starting: `sluicectl config` says what it waits for");
}

// How it stands with who the workload is: "identity_state".
Json with_identity(Json workload, const Workloads& workloads, uint64_t cookie) {
  const auto view = workloads.identities().view(cookie);
  if (!view) return workload;
  Json state = Json::object();
  state.set("identity", view->identity).set("source", view->source).set("usable", view->expires.has_value());
  if (view->expires)
    state.set("expires",
              std::chrono::duration_cast<std::chrono::seconds>(view->expires->time_since_epoch()).count());
  if (!view->reason.empty()) state.set("reason", view->reason);
  workload.set("identity_state", std::move(state));
  return workload;
}

Response enrol(Workloads& workloads, const Request& request) {
  auto json = Json::parse(request.body);
  if (!json) return refuse(400, json.error().message);
  auto spec = redirect::spec_from_json(*json);
  if (!spec) return refuse(400, spec.error().message);
  auto workload = workloads.enrol(*spec);
  if (!workload) return refuse(workload.error());
  return Response::json(
      with_identity(redirect::workload_to_json(*workload), workloads, workload->netns_cookie).dump());
}

}  // namespace

void add_control_routes(admin::Router& router, admin::View& view, std::function<Workloads*()> workloads_now,
                        redirect::Redirector* redirector,
                        std::vector<std::unique_ptr<WorkerThread>>& workers) {
  router.add({.path = "/workloads", .help = "enrolled workloads; POST a spec to enrol"},
             [workloads_now, redirector](const Request& request) {
               Workloads* workloads = workloads_now();
               if (!workloads) return no_workloads(redirector);
               if (request.method == "POST") return enrol(*workloads, request);
               if (request.method != "GET")
                 return refuse(405, "GET lists, POST enrols, DELETE /workloads/NAME releases");
               auto all = redirector->workloads();
               if (!all) return refuse(all.error());
               Json list = Json::array();
               for (const auto& w : *all)
                 list.push(with_identity(redirect::workload_to_json(w), *workloads, w.netns_cookie));
               return Response::json(list.dump());
             });
  router.add({.path = "/workloads/*", .help = "DELETE releases the workload of that name"},
             [workloads_now, redirector](const Request& request) {
               Workloads* workloads = workloads_now();
               if (!workloads) return no_workloads(redirector);
               if (request.method != "DELETE") return refuse(405, "DELETE /workloads/NAME releases it");
               if (Status s = workloads->release(request.path.substr(std::string_view("/workloads/").size()));
                   !s)
                 return refuse(s.error());
               return Response::json("{}");
             });
  router.add({.path = "/config_waits", .help = "what resources that warm still wait for"},
             [&view](const Request&) {
               Json list = Json::array();
               for (const admin::Waiting& w : view.waiting()) {
                 Json what = Json::array();
                 for (const std::string& one : w.waits_for) what.push(one);
                 list.push(Json::object().set("kind", w.kind).set("name", w.name).set("waits_for", what));
               }
               return Response::json(list.dump());
             });
  router.add({.path = "/connections", .help = "live connections, both legs joined"},
             [&workers](const Request&) {
               Json list = Json::array();
               for (auto& w : workers)
                 w->call([&](proxy::Worker& me) {
                   for (const auto& c : me.connections()) list.push(to_json(c));
                 });
               return Response::json(list.dump());
             });
}

}  // namespace sluice::server
