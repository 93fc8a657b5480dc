#include "xds/lds.h"

#include <unordered_set>

#include "core/log.h"

namespace sluice::xds {

Status Lds::start(const model::ConfigSource& source, const stats::Scope& root) {
  SLUICE_ASSIGN(subscription_, factory_.subscribe(source, ResourceType::listener, *this,
                                                  root.scope("listener_manager").scope("lds")));
  subscription_->start({});
  return {};
}

// What is good is applied even if something else in the update is not (Envoy: LdsApiImpl::onConfigUpdate).
Status Lds::on_update(const Update& update) {
  // Routes that several of these listeners want are asked for together, and those of listeners that go are not asked
  // for again.
  factory_.pause(ResourceType::route);
  // Those that go leave their addresses to those that come.
  std::unordered_set<std::string_view> sent;
  for (const Resource& r : update.resources) sent.insert(r.name);
  bool changed = false;
  if (update.delta) {
    for (const std::string& name : update.removed) changed |= remove(name);
  } else {
    for (const std::string& name : sink_.discovered_listeners())
      if (!sent.contains(name)) changed |= remove(name);
  }
  std::string problems;
  std::unordered_set<std::string_view> seen;
  for (const Resource& r : update.resources) {
    const std::string name(r.name);
    if (!seen.insert(r.name).second) {
      problems += name + ": duplicate listener " + name + " found\n";
      continue;
    }
    if (auto it = accepted_.find(name); it != accepted_.end() && it->second == r.hash) continue;
    Status status = put(r);
    if (status) {
      accepted_[name] = r.hash;
      changed = true;
      continue;
    }
    accepted_.erase(name);
    problems += name + ": " + status.error().message + "\n";
    sink_.note_refused_listener(r, status.error().message);
    SLUICE_LOG(config, warn, "lds: listener {} is refused: {}", r.name, status.error().message);
  }
  factory_.resume(ResourceType::route);
  if (changed) version_ = update.version;
  set_initialized();
  if (!problems.empty()) return Error{"Error adding/updating listener(s) " + problems};
  return {};
}

Status Lds::put(const Resource& resource) {
  SLUICE_ASSIGN(auto message, resource.unpack());
  SLUICE_ASSIGN(auto listener, resources_.listener(*message));
  return sink_.put_listener(std::move(listener), resource);
}

bool Lds::remove(const std::string& name) {
  accepted_.erase(name);
  return sink_.remove_listener(name);
}

void Lds::on_failure(FetchFailure) {
  set_initialized();
}

void Lds::set_initialized() {
  if (!std::exchange(initialized_, true) && on_initialized_) on_initialized_();
}

}  // namespace sluice::xds
