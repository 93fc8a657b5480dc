#include "server/listener_manager.h"

#include <algorithm>
#include <unordered_set>

#include "core/log.h"

namespace sluice::server {

ListenerManager::ListenerManager(io::Loop& loop, const stats::Scope& root, Options options,
                                 std::vector<std::unique_ptr<WorkerThread>>& workers)
    : loop_(loop),
      options_(options),
      workers_(workers),
      look_(&look, this),
      drain_timer_(loop.timers(), &drained, this) {
  stats::Scope s = root.scope("listener_manager");
  added_ = s.counter("listener_added");
  modified_ = s.counter("listener_modified");
  removed_ = s.counter("listener_removed");
  in_place_updated_ = s.counter("listener_in_place_updated");
  create_success_ = s.counter("listener_create_success");
  create_failure_ = s.counter("listener_create_failure");
  stopped_count_ = s.counter("listener_stopped");
  total_active_ = s.gauge("total_listeners_active");
  total_warming_ = s.gauge("total_listeners_warming");
  total_draining_ = s.gauge("total_listeners_draining");
  chains_draining_ = s.gauge("total_filter_chains_draining");
}

ListenerManager::~ListenerManager() = default;

bool ListenerManager::opens_here(const model::Listener& l) const {
  return l.bind_to_port && !(options_.interception && intercepting(l));
}

// Two listeners with one address would share its connections at random.
Status ListenerManager::check_address(const model::Listener& listener) const {
  auto has = [](const model::Listener& l, const Address& a) {
    return l.address == a || std::find(l.additional_addresses.begin(), l.additional_addresses.end(), a) !=
                                 l.additional_addresses.end();
  };
  auto clashes = [&](const Address& a) -> const model::Listener* {
    if (a.is_ip() && a.port() == 0) return nullptr;
    for (const auto& [name, entry] : entries_) {
      if (name == *listener.name) continue;
      for (const Version* v : {&entry.active, &entry.warming})
        if (v->listener && has(*v->listener, a)) return v->listener.get();
    }
    return nullptr;
  };
  auto check = [&](const Address& a) -> Status {
    if (const model::Listener* other = clashes(a))
      return Error{"error adding listener: '" + *listener.name + "' has duplicate address '" + a.to_string() +
                   "' as existing listener '" + *other->name + "'"};
    return {};
  };
  SLUICE_TRY(check(listener.address));
  for (const Address& a : listener.additional_addresses) SLUICE_TRY(check(a));
  return {};
}

Status ListenerManager::put(std::shared_ptr<const model::Listener> listener, ListenerOrigin origin,
                            const std::function<Status()>& last) {
  const std::string& name = *listener->name;
  if (stopped(*listener)) {
    SLUICE_LOG(listener, debug, "{}: listeners of its direction are stopped, it stays as it is", name);
    return {};
  }
  auto it = entries_.find(name);
  if (it != entries_.end()) {
    Entry& entry = it->second;
    const Version& newest = entry.warming.listener ? entry.warming : entry.active;
    if (newest.listener && newest.listener->hash == listener->hash) {
      entry.failure.reset();
      return {};
    }
    // The active one is wanted again while its successor warms: that one is not needed any more.
    if (entry.active.listener && entry.active.listener->hash == listener->hash) {
      drop_warming(entry);
      entry.failure.reset();
      return {};
    }
    if (origin.discovered && !entry.discovered && newest.listener) {
      SLUICE_LOG(listener, warn, "{} stands in the bootstrap: the discovered one of that name is not used",
                 name);
      return {};
    }
  }
  SLUICE_TRY(check_address(*listener));
  Version version{listener, std::move(origin), {}};
  const Version* current = it != entries_.end() && it->second.active.listener ? &it->second.active : nullptr;
  const bool same = current && same_sockets(*current->listener, *listener);
  const bool adjusts = current && !same && can_adjust(*current->listener, *listener);
  if (opens_here(*listener) && adjusts) {
    if (Status s = try_options(loop_, *listener); !s) {
      create_failure_.add();
      return s;
    }
  } else if (opens_here(*listener) && !same) {
    auto opened = open_listener(loop_, listener, static_cast<unsigned>(std::max<size_t>(workers_.size(), 1)),
                                -1, false);
    if (!opened) {
      create_failure_.add();
      return std::move(opened).error();
    }
    version.sockets = std::move(*opened);
  }
  if (last) SLUICE_TRY(last());
  const bool changes = it != entries_.end() && (it->second.active.listener || it->second.warming.listener);
  Entry& entry = entries_[name];
  if (!changes) entry.order = ++orders_;
  entry.discovered = version.origin.discovered;
  entry.failure.reset();
  (changes ? modified_ : added_).add();
  SLUICE_LOG(listener, debug, "{} {}", changes ? "changes" : "is new:", name);
  set_warming(entry, std::move(version));
  check_warming();
  update_gauges();
  return {};
}

void ListenerManager::set_warming(Entry& entry, Version version) {
  if (!entry.warming.listener) ++warming_;
  entry.warming = std::move(version);
}

void ListenerManager::drop_warming(Entry& entry) {
  if (!entry.warming.listener) return;
  entry.warming = {};
  --warming_;
  update_gauges();
}

bool ListenerManager::remove(const std::string& name) {
  auto it = entries_.find(name);
  if (it == entries_.end() || !it->second.discovered) return false;
  Entry& entry = it->second;
  if (!entry.active.listener && !entry.warming.listener) {
    entries_.erase(it);
    return false;
  }
  drop_warming(entry);
  bool workloads_change = false;
  if (entry.active.listener) {
    for (auto& w : workers_)
      w->post([name, plan = options_.drain](proxy::Worker& me) { me.remove_listener(name, plan); });
    workloads_change = workloads_notice(entry.active.listener.get(), nullptr);
    drain(std::move(entry.active), 0);
  }
  removed_.add();
  SLUICE_LOG(listener, info, "{} is removed", name);
  entries_.erase(it);
  update_gauges();
  if (workloads_change) on_workload_listeners_();
  check_warming();
  return true;
}

void ListenerManager::note_failure(const std::string& name, std::string details, ListenerOrigin origin) {
  Entry& entry = entries_[name];
  if (!entry.active.listener && !entry.warming.listener) entry.discovered = origin.discovered;
  entry.failure = std::make_shared<Failure>(Failure{std::move(details), std::move(origin)});
}

void ListenerManager::start() {
  started_ = true;
  check_warming();
}

void ListenerManager::check_warming() {
  loop_.schedule(look_);
}

void ListenerManager::look(io::TurnEnd& hook) {
  ListenerManager& self = *hook.owner<ListenerManager>();
  if (!self.started_) return;
  if (self.warming_ > 0) {
    for (auto& [name, entry] : self.entries_) {
      if (!entry.warming.listener) continue;
      const auto& needs = entry.warming.listener->needs;
      if (!std::all_of(needs.begin(), needs.end(), [](const auto& n) { return n->ready(); })) continue;
      ListenerOrigin origin = entry.warming.origin;
      if (Status s = self.activate(entry); !s) {
        self.create_failure_.add();
        SLUICE_LOG(listener, err, "{}", s.error().message);
        entry.failure = std::make_shared<Failure>(Failure{s.error().message, std::move(origin)});
      }
    }
    self.update_gauges();
  }
}

Status ListenerManager::activate(Entry& entry) {
  Version next = std::exchange(entry.warming, {});
  --warming_;
  for (const SocketGroup& g : next.sockets) SLUICE_TRY(start_listening(loop_, g));
  Version old = std::exchange(entry.active, {});
  const bool fresh_sockets = !next.sockets.empty();
  const bool adjusts = !fresh_sockets && old.listener && !same_sockets(*old.listener, *next.listener);
  const proxy::DrainPlan plan = options_.drain;
  for (size_t i = 0; i < workers_.size(); ++i) {
    std::vector<proxy::ListenSocket> sockets;
    for (SocketGroup& g : next.sockets) sockets.push_back({g.fds[i].release(), g.bound, g.listener, nullptr});
    // Of an address that changes, the new socket takes connections before the old one is closed.
    workers_[i]->post([listener = next.listener, gone = fresh_sockets || !opens_here(*next.listener), adjusts,
                       plan, sockets = std::move(sockets)](proxy::Worker& w) {
      std::unordered_set<int> kept;
      w.put_listener(listener, plan);
      for (const auto& s : sockets) w.add_socket(s), kept.insert(s.fd);
      if (gone)
        w.close_sockets(
            [&](const proxy::ListenSocket& s) {
              return s.listener == listener && !s.workload && !kept.contains(s.fd);
            },
            proxy::Backlog::serve);
      else if (adjusts)
        w.adjust_sockets(listener);
    });
    create_success_.add();
  }
  if (!fresh_sockets && old.listener && opens_here(*next.listener)) {
    next.sockets = std::move(old.sockets);
    for (SocketGroup& g : next.sockets) g.listener = next.listener;
  }
  for (const SocketGroup& g : next.sockets)
    if (fresh_sockets)
      SLUICE_LOG(listener, info, "{} listens on {}", *next.listener->name, g.bound.to_string());
  const bool workloads_change = workloads_notice(old.listener.get(), next.listener.get());
  entry.active = std::move(next);
  if (workloads_change) on_workload_listeners_();
  if (old.listener) {
    const model::Listener& now = *entry.active.listener;
    if (now.frame_hash == old.listener->frame_hash) {
      in_place_updated_.add();
      std::unordered_set<uint64_t> kept;
      for (const auto& c : now.filter_chains) kept.insert(c->hash);
      if (now.default_filter_chain) kept.insert(now.default_filter_chain->hash);
      size_t gone = 0;
      for (const auto& c : old.listener->filter_chains) gone += kept.contains(c->hash) ? 0 : 1;
      if (const auto& d = old.listener->default_filter_chain) gone += kept.contains(d->hash) ? 0 : 1;
      if (gone > 0) drain(std::move(old), gone);
    } else {
      drain(std::move(old), 0);
    }
  }
  return {};
}

// Kept for so long that people see what still ends. The workers do the work.
void ListenerManager::drain(Version old, size_t chains) {
  old.sockets.clear();
  Draining& d = draining_.emplace_back();
  d.name = *old.listener->name;
  d.version = std::move(old);
  d.chains = chains;
  d.until = loop_.now() + options_.drain.time;
  if (!drain_timer_.armed()) drain_timer_.arm(d.until);
}

void ListenerManager::drained(io::Timer& timer) {
  ListenerManager& self = *timer.owner<ListenerManager>();
  const MonotonicTime now = self.loop_.now();
  while (!self.draining_.empty() && self.draining_.front().until <= now) self.draining_.pop_front();
  if (!self.draining_.empty()) timer.arm(self.draining_.front().until);
  self.update_gauges();
}

void ListenerManager::update_gauges() {
  size_t active = 0, listeners = 0, chains = 0;
  for (const auto& [name, e] : entries_) active += e.active.listener && !stopped(*e.active.listener) ? 1 : 0;
  for (const Draining& d : draining_) d.chains > 0 ? chains += d.chains : ++listeners;
  total_active_.set(active);
  total_warming_.set(warming_);
  total_draining_.set(listeners);
  chains_draining_.set(chains);
}

// Do enrolled workloads need other sockets?
bool ListenerManager::workloads_notice(const model::Listener* before, const model::Listener* after) const {
  if (!options_.interception || !on_workload_listeners_) return false;
  const bool was = before && intercepting(*before), is = after && intercepting(*after);
  if (!was && !is) return false;
  return !(was && is && same_sockets(*before, *after));
}

bool ListenerManager::stopped(const model::Listener& l) const {
  return stopped_ || (inbound_stopped_ && l.direction == model::TrafficDirection::inbound);
}

void ListenerManager::stop_accepting(bool inbound_only) {
  (inbound_only ? inbound_stopped_ : stopped_) = true;
  auto which = [this](const model::Listener& l) { return stopped(l); };
  for (auto& w : workers_)
    w->call([&](proxy::Worker& me) {
      me.close_sockets([&](const proxy::ListenSocket& s) { return which(*s.listener); },
                       proxy::Backlog::serve);
    });
  for (auto& [name, entry] : entries_) {
    if (entry.warming.listener && which(*entry.warming.listener)) drop_warming(entry);
    if (!entry.active.listener || !which(*entry.active.listener)) continue;
    entry.active.sockets.clear();
    stopped_count_.add();
  }
  update_gauges();
}

std::vector<const ListenerManager::Version*> ListenerManager::active_versions() const {
  std::vector<const Entry*> serving;
  for (const auto& [name, entry] : entries_)
    if (entry.active.listener) serving.push_back(&entry);
  std::sort(serving.begin(), serving.end(), [](auto* a, auto* b) { return a->order < b->order; });
  std::vector<const Version*> out;
  for (const Entry* e : serving) out.push_back(&e->active);
  return out;
}

std::vector<std::shared_ptr<const model::Listener>> ListenerManager::active() const {
  std::vector<std::shared_ptr<const model::Listener>> out;
  for (const Version* v : active_versions()) out.push_back(v->listener);
  return out;
}

}  // namespace sluice::server
