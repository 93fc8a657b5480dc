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
  std::string problems;
  std::unordered_set<std::string> names;
  for (const Resource& r : update.resources) {
    if (!names.insert(r.name).second) {
      problems += r.name + ": duplicate listener " + r.name + " found\n";
      continue;
    }
    auto message = r.unpack();
    if (!message) return std::move(message).error();  // it was unpacked when it came: cannot be
    auto made = resources_.listener(**message);
    Status status = made.ok() ? sink_.put_listener(std::move(*made), r) : Status(std::move(made).error());
    if (status) continue;
    problems += r.name + ": " + status.error().message + "\n";
    sink_.note_refused_listener(r, status.error().message);
    SLUICE_LOG(config, warn, "lds: listener {} is refused: {}", r.name, status.error().message);
  }
  if (update.delta) {
    for (const std::string& name : update.removed) sink_.remove_listener(name);
  } else {
    for (const std::string& name : sink_.discovered_listeners())
      if (!names.contains(name)) sink_.remove_listener(name);
  }
  factory_.resume(ResourceType::route);
  Status out;
  if (problems.empty())
    version_ = update.version;
  else
    out = Error{"Error adding/updating listener(s) " + problems};
  set_initialized();
  return out;
}

void Lds::on_failure(FetchFailure failure) {
  if (failure == FetchFailure::timed_out) set_initialized();
}

void Lds::set_initialized() {
  if (!std::exchange(initialized_, true) && on_initialized_) on_initialized_();
}

}  // namespace sluice::xds
