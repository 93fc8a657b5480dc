#include "xds/cds.h"

#include <unordered_set>

#include "core/log.h"

namespace sluice::xds {

Cds::Cds(io::Loop& loop, SubscriptionFactory& factory, const config::Resources& resources,
         upstream::ClusterDirectory& clusters, const stats::Scope& root)
    : loop_(loop),
      factory_(factory),
      resources_(resources),
      directory_(clusters),
      scope_(root.scope("cluster_manager").scope("cds")) {
  config_reload_ = scope_.counter("config_reload");
  config_reload_time_ = scope_.gauge("config_reload_time_ms");
  directory_.when_active([this](const std::string& name) { now_active(name); });
}

Cds::~Cds() {
  directory_.when_active(nullptr);
}

Status Cds::start(const model::ConfigSource& source) {
  SLUICE_ASSIGN(subscription_, factory_.subscribe(source, ResourceType::cluster, *this, scope_));
  subscription_->start({});
  return {};
}

// What is good is applied even if something else in the update is not (Envoy: CdsApiHelper::onConfigUpdate).
Status Cds::on_update(const Update& update) {
  // The endpoints of all new clusters are asked for in one request, and old ones only once all is in place.
  factory_.pause(ResourceType::endpoints);
  ++updates_;
  forget_failures(update);
  std::string errors;
  std::unordered_set<std::string_view> ours;  // names of the bootstrap's clusters, and what came to nothing
  size_t changed = 0, removed = 0, sent = 0;
  for (const Resource& r : update.resources) {
    Status outcome;
    const auto known = dynamic_.find(r.name);
    const bool in_same = update.same != nullptr && update.same->has(r.name);
    const bool again = in_same || (known != dynamic_.end() && known->second.sent == updates_);
    if (again || ours.contains(r.name)) {
      outcome = Error{"duplicate cluster " + std::string(r.name) + " found"};
    } else if (known != dynamic_.end() && known->second.hash == r.hash) {
      known->second.sent = updates_;
      known->second.failure.reset();
      ++sent;
      continue;
    } else if (outcome = take(r); outcome) {
      ++changed;
    }
    if (!outcome) {
      SLUICE_LOG(upstream, warn, "cds: cluster '{}' config rejected: {}", r.name, outcome.error().message);
      errors += (errors.empty() ? "" : ", ") + std::string(r.name) + ": " + outcome.error().message;
      dynamic_[std::string(r.name)].failure =
          Failure{{std::string(r.bytes), std::string(r.version), loop_.wall_now()}, outcome.error().message};
      refused_.insert(std::string(r.name));
    }
    if (const auto at = dynamic_.find(r.name); at == dynamic_.end())
      ours.insert(r.name);
    else if (std::exchange(at->second.sent, updates_) != updates_ && !in_same)
      ++sent;
  }
  ours_ = ours.size();
  const size_t same = update.same != nullptr ? update.same->count() : 0;
  if (update.delta) {
    for (const std::string& name : update.removed) removed += remove(name);
  } else if (sent + same < dynamic_.size()) {
    std::vector<std::string> gone;
    for (const auto& [name, dynamic] : dynamic_) {
      if (dynamic.sent != updates_ && (same == 0 || !update.same->has(name))) gone.push_back(name);
    }
    for (const std::string& name : gone) removed += remove(name);
  }
  SLUICE_LOG(upstream, info, "cds: {} cluster(s) added or updated, {} unmodified, {} removed", changed,
             update.resources.size() + same - changed, removed);
  if (changed + removed > 0) {
    version_ = update.version;
    config_reload_.add();
    config_reload_time_.set(static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(loop_.wall_now().time_since_epoch()).count()));
  }
  factory_.resume(ResourceType::endpoints);
  initialized_ = true;
  if (!errors.empty()) return Error{"Error adding/updating cluster(s) " + errors};
  return {};
}

// Of those that are again what is in force.
void Cds::forget_failures(const Update& update) {
  std::erase_if(refused_, [&](const std::string& name) {
    const auto at = dynamic_.find(name);
    if (at == dynamic_.end()) return true;
    if (update.same == nullptr || !update.same->has(name)) return false;
    at->second.failure.reset();
    return true;
  });
}

Status Cds::take(const Resource& resource) {
  if (resource.name.empty()) return Error{"a cluster without a name"};
  if (directory_.is_static(resource.name)) {
    SLUICE_LOG(upstream, debug, "cds: cluster '{}' is in the bootstrap, which stays", resource.name);
    return {};
  }
  SLUICE_ASSIGN(auto message, resource.unpack());
  SLUICE_ASSIGN(auto cluster, resources_.cluster(*message));
  const std::string name(resource.name);
  Dynamic& dynamic = dynamic_[name];
  // now_active() may come inside put().
  auto before = std::exchange(
      dynamic.warming, Config{std::string(resource.bytes), std::string(resource.version), loop_.wall_now()});
  auto put = directory_.put(std::move(cluster), true);
  if (!put) {
    dynamic.warming = std::move(before);
    if (!dynamic.active && !dynamic.warming && !dynamic.failure) dynamic_.erase(name);
    return std::move(put).error();
  }
  if (!*put && dynamic.warming) {
    // Other bytes that mean the same cluster.
    if (dynamic.active && !before) dynamic.active = std::exchange(dynamic.warming, std::nullopt);
  }
  dynamic.failure.reset();
  dynamic.hash = resource.hash;
  return {};
}

// Whether there was one in force.
bool Cds::remove(const std::string& name) {
  const auto at = dynamic_.find(name);
  const bool held = at != dynamic_.end() && at->second.hash;
  if (at != dynamic_.end()) dynamic_.erase(at);
  if (directory_.has(name) && !directory_.is_static(name)) directory_.remove(name);
  return held;
}

void Cds::now_active(const std::string& name) {
  const auto at = dynamic_.find(name);
  if (at == dynamic_.end() || !at->second.warming) return;
  at->second.active = std::exchange(at->second.warming, std::nullopt);
}

void Cds::on_failure(FetchFailure) {
  initialized_ = true;
}

}  // namespace sluice::xds
