#include "server/workloads.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "core/log.h"
#include "proxy/downstream.h"
#include "redirect/json.h"

namespace sluice::server {

Workloads::Workloads(io::Loop& loop, redirect::Redirector& redirector,
                     std::vector<std::unique_ptr<WorkerThread>>& workers, Identities& identities)
    : loop_(loop), redirector_(redirector), workers_(workers), identities_(identities) {}

Workloads::~Workloads() = default;

Result<Workloads::Served> Workloads::open(const std::string& name, const std::string& netns_path,
                                          uint64_t cookie, redirect::WorkloadSpec& spec) {
  auto workload = std::make_shared<proxy::Workload>();
  workload->name = std::make_shared<const std::string>(name);
  workload->netns = Fd(::open(netns_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!workload->netns.valid()) return errno_error(errno, "workload " + name + ": netns " + netns_path);
  workload->netns_cookie = cookie;
  workload->mark = redirector_.options().proxy_mark;
  workload->transparent_mark = redirector_.options().transparent_mark;

  uint16_t outbound_port = spec.outbound_port ? spec.outbound_port : redirector_.options().outbound_port;
  uint16_t inbound_port = spec.inbound_port ? spec.inbound_port : redirector_.options().inbound_port;
  redirect::Listeners kernel;
  std::vector<SocketGroup> groups;
  for (const auto& listener : listeners_) {
    if (!intercepting(*listener)) continue;
    auto opened =
        open_listener(loop_, listener, static_cast<unsigned>(workers_.size()), workload->netns.get(), true);
    if (!opened) return std::move(opened).error().prefixed("workload " + name);
    for (SocketGroup& g : *opened) {
      if (Status s = start_listening(loop_, g); !s) return std::move(s).error().prefixed("workload " + name);
      bool v4 = g.bound.ip().is_v4();
      if (g.bound.port() == outbound_port) (v4 ? kernel.outbound_v4 : kernel.outbound_v6) = g.fds[0].get();
      if (g.bound.port() == inbound_port) (v4 ? kernel.inbound_v4 : kernel.inbound_v6) = g.fds[0].get();
      groups.push_back(std::move(g));
    }
  }
  // A direction for which the configuration has no listener is not intercepted.
  if (spec.outbound && kernel.outbound_v4 < 0 && kernel.outbound_v6 < 0) {
    SLUICE_LOG(workload, info, "{}: no listener on the outbound port {}: outbound is left alone", name,
               outbound_port);
    spec.outbound = false;
  }
  if (spec.inbound && kernel.inbound_v4 < 0 && kernel.inbound_v6 < 0) {
    SLUICE_LOG(workload, info, "{}: no listener on the inbound port {}: inbound is left alone", name,
               inbound_port);
    spec.inbound = false;
  }
  if (!spec.outbound && !spec.inbound)
    return Error{"workload " + name +
                     ": the configuration has no listener to serve it with: neither on the outbound port " +
                     std::to_string(outbound_port) + " nor on the inbound port " +
                     std::to_string(inbound_port) +
                     " is there one with traffic_direction or use_original_dst",
                 EINVAL};
  SLUICE_TRY(redirector_.set_listeners(cookie, kernel));

  for (SocketGroup& g : groups)
    for (size_t i = 0; i < workers_.size(); ++i) {
      proxy::ListenSocket socket{g.fds[i].release(), g.bound, g.listener, workload};
      workers_[i]->post([socket](proxy::Worker& w) { w.add_socket(socket); });
    }
  bool outbound = kernel.outbound_v4 >= 0 || kernel.outbound_v6 >= 0,
       inbound = kernel.inbound_v4 >= 0 || kernel.inbound_v6 >= 0;
  return Served{std::move(workload), outbound, inbound};
}

void Workloads::restrict_to(const Served& served, redirect::WorkloadSpec& spec) {
  spec.outbound &= served.outbound;
  spec.inbound &= served.inbound;
}

void Workloads::close(const Served& served, proxy::Backlog backlog) {
  for (auto& w : workers_)
    w->call([&](proxy::Worker& worker) {
      worker.close_sockets([&](const proxy::ListenSocket& s) { return s.workload == served.workload; },
                           backlog);
    });
}

void Workloads::set_listeners(ListenerList listeners) {
  listeners_ = std::move(listeners);
  if (served_.empty()) return;
  auto all = redirector_.workloads();
  if (!all) {
    SLUICE_LOG(workload, err, "cannot read the enrolled workloads: {}", all.error().message);
    return;
  }
  for (redirect::Workload& w : *all) {
    auto it = served_.find(w.netns_cookie);
    if (it == served_.end()) continue;
    const std::string name = *it->second.workload->name;
    auto fresh = open(name, w.netns_handle, w.netns_cookie, w.spec);
    if (!fresh) {
      // Nothing serves it any more: what the kernel side does about that is its fail mode.
      SLUICE_LOG(workload, err, "{}; its connections get the fail mode ({})", fresh.error().message,
                 redirect::to_string(w.spec.fail_mode));
      close(it->second);
      served_.erase(it);
      continue;
    }
    close(it->second, proxy::Backlog::serve);  // the kernel side has gone over to the new ones
    it->second = std::move(*fresh);
  }
}

size_t Workloads::restore() {
  size_t failed = 0;
  auto all = redirector_.workloads();
  if (!all) {
    SLUICE_LOG(workload, err, "cannot read the enrolled workloads: {}", all.error().message);
    return 1;
  }
  for (redirect::Workload& w : *all) {
    if (served_.contains(w.netns_cookie)) continue;
    std::string name = w.spec.name.empty() ? std::to_string(w.netns_cookie) : w.spec.name;
    auto serve = [&]() -> Result<Served> {
      if (!w.spec.name.empty())
        if (Status s = redirector_.renew_return_path(w.netns_cookie); !s)
          return std::move(s).error().prefixed("workload " + name + ": original_src needs a way back");
      return open(name, w.netns_handle, w.netns_cookie, w.spec);
    };
    identities_.put(w.netns_cookie, w.spec);
    auto served = serve();
    if (!served) {
      ++failed;
      SLUICE_LOG(workload, err, "{}; its connections get the fail mode ({})", served.error().message,
                 redirect::to_string(w.spec.fail_mode));
      continue;
    }
    SLUICE_LOG(workload, info, "serving {} (netns {})", name, w.netns_cookie);
    served_.emplace(w.netns_cookie, std::move(*served));
  }
  return failed;
}

Result<redirect::Workload> Workloads::enrol(redirect::WorkloadSpec spec) {
  SLUICE_TRY(redirect::validate(spec));
  SLUICE_ASSIGN(uint64_t cookie, redirect::netns_cookie_of(spec.netns_path));
  SLUICE_TRY(identities_.check(spec));
  bool known = served_.contains(cookie);
  // Who it is stands before its first connection comes.
  if (!known) {
    identities_.put(cookie, spec);
    auto served = open(spec.name, spec.netns_path, cookie, spec);
    if (!served) {
      identities_.forget(cookie);
      return std::move(served).error();
    }
    served_.emplace(cookie, std::move(*served));
  } else {
    restrict_to(served_.at(cookie), spec);
  }
  auto enrolled = redirector_.enrol(spec);
  if (!enrolled) {
    if (!known) {
      close(served_.at(cookie));
      served_.erase(cookie);
      forget(cookie);
    }
    return std::move(enrolled).error();
  }
  if (known) {
    const auto before = identities_.view(cookie);
    identities_.put(cookie, spec);
    // What it had as somebody else is not used any more.
    if (before && before->identity != spec.identity) forget_in_workers(cookie);
  }
  SLUICE_LOG(workload, info, "enrolled {} (netns {})", spec.name, cookie);
  return enrolled;
}

void Workloads::forget_in_workers(uint64_t cookie) {
  for (auto& worker : workers_) worker->call([cookie](proxy::Worker& me) { me.forget_workload(cookie); });
}

void Workloads::forget(uint64_t cookie) {
  identities_.forget(cookie);
  forget_in_workers(cookie);
}

Status Workloads::release(const std::string& name) {
  auto is_it = [&](const std::string& n, uint64_t cookie) {
    return n == name || std::to_string(cookie) == name;
  };
  std::vector<uint64_t> cookies;
  for (const auto& [cookie, served] : served_)
    if (is_it(*served.workload->name, cookie)) cookies.push_back(cookie);
  if (cookies.empty()) {  // enrolled, and not served: the kernel side knows of it
    SLUICE_ASSIGN(auto all, redirector_.workloads());
    for (const redirect::Workload& w : all)
      if (is_it(w.spec.name, w.netns_cookie)) cookies.push_back(w.netns_cookie);
  }
  SLUICE_TRY(redirector_.release(name));
  for (uint64_t cookie : cookies) {
    identities_.forget(cookie);
    if (auto it = served_.find(cookie); it != served_.end()) {
      close(it->second);
      // Without its return path a connection under the caller's address hangs: better a RST at once.
      for (auto& worker : workers_)
        worker->call([gone = it->second.workload](proxy::Worker& me) {
          me.close_connections([&](const proxy::Downstream& d) {
            return d.workload() == gone.get() && d.needs_return_path();
          });
          me.forget_workload(gone->netns_cookie);
        });
      served_.erase(it);
    }
  }
  SLUICE_LOG(workload, info, "released {}", name);
  return {};
}

void Workloads::reconcile() {
  for (const std::string& name : redirector_.prune())
    SLUICE_LOG(workload, info, "{} is gone: released", name);
  auto all = redirector_.workloads();
  if (!all) return;
  for (auto it = served_.begin(); it != served_.end();) {
    bool still =
        std::any_of(all->begin(), all->end(), [&](const auto& w) { return w.netns_cookie == it->first; });
    if (!still) {
      SLUICE_LOG(workload, info, "{} is no longer enrolled: listeners closed", *it->second.workload->name);
      close(it->second);
      forget(it->first);
    }
    it = still ? std::next(it) : served_.erase(it);
  }
  identities_.retain([&](uint64_t cookie) {
    return std::any_of(all->begin(), all->end(), [&](const auto& w) { return w.netns_cookie == cookie; });
  });
  identities_.retry();
  for (const auto& w : *all)
    if (!served_.contains(w.netns_cookie)) {
      restore();
      break;
    }
}

void Workloads::close_listeners() {
  for (auto& [cookie, served] : served_) close(served, proxy::Backlog::serve);
  served_.clear();
}

}  // namespace sluice::server
