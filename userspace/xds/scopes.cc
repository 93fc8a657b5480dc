#include "xds/scopes.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "core/log.h"

namespace sluice::xds {

class Scopes::Shared final : public SharedValue<model::ScopeSource, model::ScopeTable> {
 public:
  explicit Shared(std::string name) : name_(std::move(name)) {}
  // Control thread, both.
  bool ready() const override { return answered_ && waits_for() == nullptr; }
  std::string what() const override {
    const model::Scope* scope = answered_ ? waits_for() : nullptr;
    return scope ? scope->routes->what() + " of scope '" + scope->name + "'"
                 : "scoped routes '" + name_ + "' (srds)";
  }
  bool set_answered() { return !std::exchange(answered_, true); }

 private:
  const model::Scope* waits_for() const {
    const auto table = current();
    if (!table) return nullptr;
    for (const auto& [key, scope] : table->by_key)
      if (!scope.routes->ready()) return &scope;  // lives in a table that the control thread alone replaces
    return nullptr;
  }

  const std::string name_;
  bool answered_ = false;
};

class Scopes::Feed final : public Subscriber {
 public:
  Feed(Scopes& owner, config::ScopesRequest r)
      : request(std::move(r)),
        owner_(owner),
        shared_(std::make_shared<Shared>(request.name)),
        scope_(owner.root_.scope("http").scope(request.stat_prefix).scope("scoped_rds").scope(request.name)),
        lease_(scope_.lease()),
        reload_(scope_.counter("config_reload")),
        empty_(scope_.counter("update_empty")),
        reload_time_(scope_.gauge("config_reload_time_ms")),
        all_(scope_.gauge("all_scopes")),
        active_(scope_.gauge("active_scopes")),
        on_demand_(scope_.gauge("on_demand_scopes")) {}

  Status start() {
    SLUICE_ASSIGN(subscription_,
                  owner_.factory_->subscribe(request.source, ResourceType::scoped_route, *this, scope_));
    subscription_->start({});
    return {};
  }

  std::shared_ptr<const model::ScopeSource> share() {
    return lent_.get(shared_, owner_.loop_, owner_.self_,
                     [feed = this](Scopes& owner) { owner.forget(feed); });
  }
  bool unused() const { return lent_.unused(); }

  Status on_update(const Update& update) override {
    Status outcome = apply(update);
    if (outcome) {
      refused_.clear();
    } else {
      refused_ = outcome.error().message;
      refused_version_ = update.version;
      refused_at_ = owner_.loop_.wall_now();
      SLUICE_LOG(config, warn, "scoped routes '{}' (srds) are refused: {}", request.name, refused_);
      return outcome;
    }
    set_answered();
    return {};
  }

  void on_failure(FetchFailure) override { set_answered(); }

  void settle() {
    bool changes = false;
    for (auto& [name, entry] : entries_) {
      if (!entry.before || !entry.reader->current()) continue;
      entry.before.reset();
      entry.before_reader.reset();
      changes = true;
    }
    if (changes) publish();
  }

  ScopesView view() const {
    ScopesView out;
    out.name = request.name;
    out.version = version_;
    out.at = at_;
    out.refused = refused_;
    out.refused_version = refused_version_;
    out.refused_at = refused_at_;
    for (const auto& [name, entry] : entries_) out.scopes.emplace_back(name, entry.message);
    return out;
  }

  const config::ScopesRequest request;

 private:
  // A scope as it is in force. Whoever holds `routes` keeps their subscription; workers read by the other.
  struct Entry {
    uint64_t hash = 0;
    std::shared_ptr<const google::protobuf::Message> message;
    model::ScopedRoute route;
    std::shared_ptr<const model::RouteSource> routes, reader;
    std::shared_ptr<const model::RouteSource> before, before_reader;  // null: see model::Scope
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  Status apply(const Update& update) {
    Entries next;
    std::unordered_set<std::string_view> gone(update.removed.begin(), update.removed.end());
    for (const Resource& r : update.resources) gone.insert(r.name);
    if (update.delta) {
      for (const auto& [name, entry] : entries_)
        if (!gone.contains(name)) next.emplace(name, entry);
    }
    std::unordered_map<std::string_view, std::string_view> by_key;  // key, name
    for (const auto& [name, entry] : next) by_key.emplace(entry.route.key, name);
    for (const Resource& r : update.resources) {
      const auto [at, fresh] = next.try_emplace(std::string(r.name));
      if (!fresh)
        return Error{"Error adding/updating scoped route(s): duplicate scoped route configuration '" +
                     std::string(r.name) + "' found"};
      Entry& entry = at->second;
      if (const auto old = entries_.find(r.name); old != entries_.end() && old->second.hash == r.hash) {
        entry = old->second;
      } else {
        SLUICE_ASSIGN(entry.message, r.unpack());
        auto route = owner_.resources_->scoped_route(*entry.message);
        if (!route) return std::move(route).error().prefixed(std::string(r.name));
        entry.route = std::move(*route);
        entry.hash = r.hash;
      }
      if (const auto [other, unique] = by_key.emplace(entry.route.key, at->first); !unique)
        return Error{"Error adding/updating scoped route(s): scope key conflict found, first scope is '" +
                     std::string(other->second) + "', second scope is '" + std::string(r.name) + "'"};
    }
    // What several scopes want is asked for together.
    owner_.factory_->pause(ResourceType::route);
    Status outcome = find_routes(next);
    if (outcome) put(std::move(next), update);
    owner_.factory_->resume(ResourceType::route);
    return outcome;
  }

  Status find_routes(Entries& next) {
    for (auto& [name, entry] : next) {
      if (entry.routes) continue;
      if (entry.route.routes) {
        entry.routes = entry.reader = std::make_shared<model::FixedRoutes>(entry.route.routes);
        continue;
      }
      if (!request.routes)
        return Error{"rds_config_source is missing: there is nowhere to get the routes '" +
                     entry.route.route_config_name + "' of scope '" + name + "' from"};
      const RouteKey key{*request.routes, entry.route.route_config_name, request.stat_prefix};
      auto routes = owner_.routes_.get(key);
      if (!routes) return std::move(routes).error().prefixed("rds_config_source");
      entry.routes = std::move(*routes);
      entry.reader = owner_.routes_.reader(key);
      const auto old = entries_.find(name);
      if (old == entries_.end() || entry.reader->current()) continue;
      // Envoy answers 404 until the new routes are there.
      const bool served = old->second.reader->current() != nullptr;
      entry.before = served ? old->second.routes : old->second.before;
      entry.before_reader = served ? old->second.reader : old->second.before_reader;
    }
    return {};
  }

  void put(Entries next, const Update& update) {
    const bool changes = !std::equal(
        next.begin(), next.end(), entries_.begin(), entries_.end(),
        [](const auto& a, const auto& b) { return a.first == b.first && a.second.hash == b.second.hash; });
    entries_.swap(next);
    const WallTime now = owner_.loop_.wall_now();
    if (changes || version_.empty()) version_ = update.version;
    at_ = now;
    reload_.add();
    reload_time_.set(static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count()));
    all_.set(entries_.size());
    active_.set(static_cast<uint64_t>(
        std::ranges::count_if(entries_, [](const auto& e) { return !e.second.route.routes; })));
    if (!changes) return;
    SLUICE_LOG(config, info, "scoped routes '{}' (srds) are at version {}: {} scopes", request.name, version_,
               entries_.size());
    publish();
  }

  void publish() {
    auto table = std::make_shared<model::ScopeTable>();
    for (const auto& [name, entry] : entries_)
      table->by_key.emplace(entry.route.key, model::Scope{name, entry.reader, entry.before_reader});
    if (owner_.hooks_.before_change) owner_.hooks_.before_change();
    shared_->set(std::move(table));
  }

  void set_answered() {
    if (shared_->set_answered() && owner_.hooks_.on_ready) owner_.hooks_.on_ready();
  }

  Scopes& owner_;
  const std::shared_ptr<Shared> shared_;
  Lent<model::ScopeSource> lent_;  // shared_, to those who keep this
  stats::Scope scope_;
  const stats::Lease lease_;
  stats::Counter reload_, empty_;
  stats::Gauge reload_time_, all_, active_, on_demand_;
  Entries entries_;
  std::string version_, refused_, refused_version_;
  WallTime at_{}, refused_at_{};
  std::unique_ptr<Subscription> subscription_;
};

Scopes::Scopes(io::Loop& loop, const stats::Scope& root, const WatchHooks& hooks, Watches<RouteKey>& routes)
    : loop_(loop), root_(root), hooks_(hooks), routes_(routes), self_(std::make_shared<Scopes*>(this)) {}

Scopes::~Scopes() = default;

Status Scopes::start(SubscriptionFactory& factory, const config::Resources& resources) {
  factory_ = &factory;
  resources_ = &resources;
  for (auto& feed : feeds_)
    if (Status s = feed->start(); !s)
      return std::move(s).error().prefixed("scoped routes '" + feed->request.name + "' (srds)");
  return {};
}

Result<std::shared_ptr<const model::ScopeSource>> Scopes::get(const config::ScopesRequest& request) {
  for (auto& feed : feeds_)
    if (feed->request.source == request.source && feed->request.routes == request.routes)
      return feed->share();
  auto feed = std::make_unique<Feed>(*this, request);
  if (factory_) SLUICE_TRY(feed->start());
  feeds_.push_back(std::move(feed));
  return feeds_.back()->share();
}

void Scopes::settle() {
  for (auto& feed : feeds_) feed->settle();
}

std::vector<ScopesView> Scopes::view() const {
  std::vector<ScopesView> out;
  for (const auto& feed : feeds_) out.push_back(feed->view());
  std::erase_if(out, [](const ScopesView& v) { return v.at == WallTime() && v.refused.empty(); });
  return out;
}

void Scopes::forget(const Feed* feed) {
  std::erase_if(feeds_, [&](const auto& f) { return f.get() == feed && f->unused(); });
}

}  // namespace sluice::xds
