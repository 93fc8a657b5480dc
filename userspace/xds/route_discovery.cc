#include "xds/route_discovery.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/log.h"

namespace sluice::xds {

// What workers read. The control thread alone writes; workers come here only when the generation has changed.
class RouteDiscovery::Routes final : public model::RouteSource {
 public:
  explicit Routes(const std::string& name) : name_(name) {}
  std::string what() const override { return "routes '" + name_ + "' (rds)"; }
  bool ready() const override { return ready_; }
  uint64_t generation() const override { return generation_.load(std::memory_order_acquire); }
  std::shared_ptr<const model::RouteConfig> current() const override {
    std::lock_guard lock(mutex_);
    return current_;
  }
  void set(std::shared_ptr<const model::RouteConfig> routes) {
    {
      std::lock_guard lock(mutex_);
      current_.swap(routes);
    }
    generation_.fetch_add(1, std::memory_order_release);
  }
  void set_ready() { ready_ = true; }

 private:
  const std::string name_;
  mutable std::mutex mutex_;
  std::shared_ptr<const model::RouteConfig> current_;
  std::atomic<uint64_t> generation_{1};
  bool ready_ = false;  // the control thread's
};

class RouteDiscovery::Watch final : public Subscriber {
 public:
  Watch(RouteDiscovery& owner, model::ConfigSource from, std::string route_name, std::string prefix)
      : source(std::move(from)),
        name(std::move(route_name)),
        stat_prefix(std::move(prefix)),
        owner_(owner),
        scope_(owner.root_.scope("http").scope(stat_prefix).scope("rds").scope(name)),
        reload_(scope_.counter("config_reload")),
        update_empty_(scope_.counter("update_empty")),
        reload_time_(scope_.gauge("config_reload_time_ms")) {}

  Status start() {
    SLUICE_ASSIGN(subscription_, owner_.factory_->subscribe(source, ResourceType::route, *this, scope_));
    subscription_->start({name});
    return {};
  }

  std::shared_ptr<const model::RouteSource> share() {
    if (auto shared = shared_.lock()) return shared;
    auto routes = new Routes(name);
    if (current_) routes->set(current_);
    if (ready_) routes->set_ready();
    // The last to let go may be a worker; the subscription belongs to the control thread.
    std::shared_ptr<Routes> shared(
        routes, [loop = &owner_.loop_, owner = std::weak_ptr(owner_.self_), watch = this](Routes* gone) {
          delete gone;
          if (owner.expired()) return;
          loop->post([owner, watch] {
            if (auto o = owner.lock()) (*o)->forget(*watch);
          });
        });
    shared_ = shared;
    return shared;
  }
  bool unused() const { return shared_.expired(); }

  Status on_update(const Update& update) override {
    auto found = std::find_if(update.resources.begin(), update.resources.end(),
                              [&](const Resource& r) { return r.name == name; });
    if (found == update.resources.end()) {
      // As Envoy: routes that are no longer sent stay in force; whoever waits for them need not any more.
      update_empty_.add();
      SLUICE_LOG(config, debug, "rds: no RouteConfiguration {} in the answer", name);
      set_ready();
      return {};
    }
    View now;
    now.name = name;
    now.version = found->version;
    now.at = owner_.loop_.wall_now();
    if (current_ && found->hash == hash_) {
      view.version = now.version;
      view.refused.clear();
      view.refused_message.reset();
      return {};
    }
    SLUICE_ASSIGN(now.message, found->unpack());
    auto made = owner_.resources_->routes(*now.message);
    if (!made.ok()) {
      view.name = name;
      view.refused = made.error().message;
      view.refused_version = now.version;
      view.refused_at = now.at;
      view.refused_message = now.message;
      SLUICE_LOG(config, warn, "rds: RouteConfiguration {} is refused: {}", name, made.error().message);
      set_ready();
      return std::move(made).error();
    }
    hash_ = found->hash;
    current_ = std::move(*made);
    view = std::move(now);
    reload_.add();
    reload_time_.set(static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(view.at.time_since_epoch()).count()));
    SLUICE_LOG(config, info, "rds: RouteConfiguration {} is at version {}", name, view.version);
    if (auto shared = std::static_pointer_cast<Routes>(shared_.lock())) shared->set(current_);
    set_ready();
    return {};
  }

  void on_failure(FetchFailure failure) override {
    if (failure == FetchFailure::timed_out) set_ready();
  }

  const model::ConfigSource source;
  const std::string name, stat_prefix;
  View view;

 private:
  void set_ready() {
    if (std::exchange(ready_, true)) return;
    if (auto shared = std::static_pointer_cast<Routes>(shared_.lock())) shared->set_ready();
    if (owner_.on_ready_) owner_.on_ready_();
  }

  RouteDiscovery& owner_;
  stats::Scope scope_;
  stats::Counter reload_, update_empty_;
  stats::Gauge reload_time_;
  std::weak_ptr<Routes> shared_;
  std::shared_ptr<const model::RouteConfig> current_;
  uint64_t hash_ = 0;
  bool ready_ = false;
  std::unique_ptr<Subscription> subscription_;
};

RouteDiscovery::RouteDiscovery(io::Loop& loop, const stats::Scope& root)
    : loop_(loop), root_(root), self_(std::make_shared<RouteDiscovery*>(this)) {}

RouteDiscovery::~RouteDiscovery() = default;

Status RouteDiscovery::start(SubscriptionFactory& factory, const config::Resources& resources) {
  factory_ = &factory;
  resources_ = &resources;
  for (auto& w : watches_)
    if (Status s = w->start(); !s) return std::move(s).error().prefixed("routes " + w->name);
  return {};
}

Result<std::shared_ptr<const model::RouteSource>> RouteDiscovery::routes(const model::ConfigSource& source,
                                                                         const std::string& name,
                                                                         const std::string& stat_prefix) {
  for (auto& w : watches_)
    if (w->name == name && w->stat_prefix == stat_prefix && w->source == source) return w->share();
  auto watch = std::make_unique<Watch>(*this, source, name, stat_prefix);
  if (factory_) SLUICE_TRY(watch->start());
  watches_.push_back(std::move(watch));
  return watches_.back()->share();
}

void RouteDiscovery::forget(Watch& watch) {
  std::erase_if(watches_, [&](const auto& w) { return w.get() == &watch && w->unused(); });
}

std::vector<RouteDiscovery::View> RouteDiscovery::view() const {
  std::vector<View> out;
  for (const auto& w : watches_)
    if (w->view.message || w->view.refused_message) out.push_back(w->view);
  return out;
}

}  // namespace sluice::xds
