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
  std::string errors;
  std::unordered_set<std::string_view> names;
  size_t changed = 0, removed = 0;
  for (const Resource& r : update.resources) {
    Status outcome;
    if (!names.insert(r.name).second)
      outcome = Error{"duplicate cluster " + r.name + " found"};
    else if (const auto at = hashes_.find(r.name); at != hashes_.end() && at->second == r.hash)
      continue;
    else if (outcome = take(r); outcome)
      ++changed;
    if (outcome) continue;
    SLUICE_LOG(upstream, warn, "cds: cluster '{}' config rejected: {}", r.name, outcome.error().message);
    errors += (errors.empty() ? "" : ", ") + r.name + ": " + outcome.error().message;
    dynamic_[r.name].failure =
        Failure{{std::string(r.bytes), r.version, loop_.wall_now()}, outcome.error().message};
  }
  auto drop = [&](const std::string& name) {
    if (hashes_.contains(name)) ++removed;
    remove(name);
  };
  if (update.delta) {
    for (const std::string& name : update.removed) drop(name);
  } else {
    std::vector<std::string> gone;
    for (const auto& [name, dynamic] : dynamic_) {
      if (!names.contains(name)) gone.push_back(name);
    }
    for (const std::string& name : gone) drop(name);
  }
  SLUICE_LOG(upstream, info, "cds: {} cluster(s) added or updated, {} unmodified, {} removed", changed,
             update.resources.size() - changed, removed);
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

Status Cds::take(const Resource& resource) {
  if (resource.name.empty()) return Error{"a cluster without a name"};
  if (directory_.is_static(resource.name)) {
    SLUICE_LOG(upstream, debug, "cds: cluster '{}' is in the bootstrap, which stays", resource.name);
    return {};
  }
  SLUICE_ASSIGN(auto message, resource.unpack());
  SLUICE_ASSIGN(auto cluster, resources_.cluster(*message));
  Dynamic& dynamic = dynamic_[resource.name];
  // now_active() may come inside put().
  auto before =
      std::exchange(dynamic.warming, Config{std::string(resource.bytes), resource.version, loop_.wall_now()});
  auto put = directory_.put(std::move(cluster), true);
  if (!put) {
    dynamic.warming = std::move(before);
    if (!dynamic.active && !dynamic.warming && !dynamic.failure) dynamic_.erase(resource.name);
    return std::move(put).error();
  }
  if (!*put && dynamic.warming) {
    // Other bytes that mean the same cluster.
    if (dynamic.active && !before) dynamic.active = std::exchange(dynamic.warming, std::nullopt);
  }
  dynamic.failure.reset();
  hashes_[resource.name] = resource.hash;
  return {};
}

void Cds::remove(const std::string& name) {
  hashes_.erase(name);
  dynamic_.erase(name);
  if (directory_.has(name) && !directory_.is_static(name)) directory_.remove(name);
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
