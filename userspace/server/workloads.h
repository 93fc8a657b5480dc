#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/loop.h"
#include "model/config_set.h"
#include "proxy/worker.h"
#include "redirect/redirector.h"
#include "server/identities.h"
#include "server/listen.h"
#include "server/worker_thread.h"

namespace sluice::server {

// Enrolled workloads as this process serves them: listening sockets in each one's network namespace, handed to the
// workers and shown to the kernel side. Control thread only.
class Workloads {
 public:
  // All of them outlive this.
  Workloads(io::Loop& loop, redirect::Redirector& redirector,
            std::vector<std::unique_ptr<WorkerThread>>& workers, Identities& identities);
  ~Workloads();

  using ListenerList = std::vector<std::shared_ptr<const model::Listener>>;
  // The listeners to open; before restore() and enrol(). Later: workloads that are served get the new ones before they
  // lose the old; those that could not be served are tried again.
  void set_listeners(ListenerList listeners);
  // Takes up what is enrolled already (this is a restart). A workload whose listeners cannot be opened stays enrolled
  // under its fail mode; how many those are is returned, and each is logged.
  size_t restore();
  // A direction for which the configuration has no listener is left alone (the answer says so).
  // Opens listeners first and enrols then, so that no connection meets an enrolled workload without a proxy. Undone on
  // error. Enrolling again changes the rules.
  Result<redirect::Workload> enrol(redirect::WorkloadSpec spec);
  // Connections that are redirected already go on; those that keep their caller's address need what release removes,
  // and are reset.
  Status release(const std::string& name);
  // Serves what somebody else has enrolled or released meanwhile (sluicectl works without us), and lets workloads go
  // whose pods are gone.
  void reconcile();
  // The kernel side sees the sockets go and applies the fail modes.
  void close_listeners();
  size_t size() const { return served_.size(); }
  const Identities& identities() const { return identities_; }

 private:
  struct Served {
    std::shared_ptr<const proxy::Workload> workload;
    bool outbound = false, inbound = false;  // which listeners the configuration has for it
  };
  Result<Served> open(const std::string& name, const std::string& netns_path, uint64_t cookie,
                      redirect::WorkloadSpec& spec);
  static void restrict_to(const Served& served, redirect::WorkloadSpec& spec);
  void close(const Served& served, proxy::Backlog backlog = proxy::Backlog::reset);
  void forget(uint64_t cookie);  // nothing of its identity stays anywhere
  void forget_in_workers(uint64_t cookie);

  io::Loop& loop_;
  redirect::Redirector& redirector_;
  std::vector<std::unique_ptr<WorkerThread>>& workers_;
  Identities& identities_;
  ListenerList listeners_;
  std::map<uint64_t, Served> served_;  // by netns cookie
};

}  // namespace sluice::server
