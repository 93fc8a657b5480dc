#pragma once

#include <google/protobuf/message.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/resources.h"
#include "core/log.h"
#include "core/stats.h"
#include "io/loop.h"
#include "xds/shared_value.h"
#include "xds/subscription.h"

namespace sluice::xds {

// For /config_dump: what of one resource is in force, and what was refused last. A resource is kept as it came.
struct WatchView {
  using Bytes = std::shared_ptr<const std::string>;
  ResourceType type{};
  std::string name, version;
  WallTime at{};
  Bytes bytes;  // null: none yet
  std::string refused;  // why; "": it was not
  std::string refused_version;
  WallTime refused_at{};
  Bytes refused_bytes;
  // Null: there is none.
  std::shared_ptr<const google::protobuf::Message> message(const Bytes& of) const {
    if (!of) return nullptr;
    auto made = Resource{.type = type, .name = name, .bytes = *of}.unpack();
    return made.ok() ? std::move(made).value() : nullptr;
  }
};

struct WatchHooks {
  std::function<void()> on_ready, before_change;
};

// Resources of one kind that listeners ask for by name, each made into an immutable Value that workers read through a
// Source. All that ask with equal keys share a subscription, which ends when the last listener (and connection) that uses
// it has gone. A Key says what is asked for:
//   using Source, Value; static constexpr ResourceType kType; model::ConfigSource source; std::string name; operator==
//   std::string what() const; stats::Scope scope(root) const; std::shared_ptr<const Value> fallback() const;
//   bool ready_with_fallback() const; Result<std::shared_ptr<const Value>> make(resources, message) const
//   Versions; static std::shared_ptr<const Value> next(resources, Versions&, bytes): made of what was taken before and of
//     bytes; null: it has to be made of the whole message
template <typename Key>
class Watches {
 public:
  using Source = typename Key::Source;
  using Value = typename Key::Value;
  static constexpr bool kRoutes =
      Key::kType == ResourceType::route;  // they are counted otherwise than filters

  Watches(io::Loop& loop, const stats::Scope& root, const WatchHooks& hooks)
      : loop_(loop), root_(root), hooks_(hooks), self_(std::make_shared<Watches*>(this)) {}

  // Until then nothing is asked for; what has come up meanwhile is subscribed to now. Both outlive this.
  Status start(SubscriptionFactory& factory, const config::Resources& resources) {
    factory_ = &factory;
    resources_ = &resources;
    for (auto& [name, list] : watches_)
      for (auto& w : list)
        if (Status s = w->start(); !s) return std::move(s).error().prefixed(w->key.what());
    return {};
  }

  Result<std::shared_ptr<const Source>> get(const Key& key) {
    auto& list = watches_[key.name];
    for (auto& w : list)
      if (w->key == key) return w->share();
    auto watch = std::make_unique<Watch>(*this, key);
    if (factory_) SLUICE_TRY(watch->start());
    list.push_back(std::move(watch));
    return list.back()->share();
  }

  // The same to read for whoever holds it otherwise: it goes on as long as somebody has what get() gave.
  std::shared_ptr<const Source> reader(const Key& key) const {
    const auto list = watches_.find(key.name);
    if (list == watches_.end()) return nullptr;
    for (const auto& w : list->second)
      if (w->key == key) return w->reader();
    return nullptr;
  }

  std::vector<WatchView> view() const {
    std::vector<WatchView> out;
    for (const auto& [name, list] : watches_)
      for (const auto& w : list) out.push_back(w->view);
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return out;
  }

 private:
  class Shared final : public SharedValue<Source, Value> {
   public:
    explicit Shared(std::string what) : what_(std::move(what)) {}
    bool ready() const override { return ready_; }
    std::string what() const override { return what_; }
    void set_ready() { ready_ = true; }

   private:
    const std::string what_;
    bool ready_ = false;  // the control thread's
  };

  class Watch final : public Subscriber {
   public:
    Watch(Watches& owner, Key k)
        : key(std::move(k)),
          owner_(owner),
          shared_(std::make_shared<Shared>(key.what())),
          scope_(key.scope(owner.root_)),
          lease_(scope_.lease()),
          reload_(scope_.counter("config_reload")) {
      if constexpr (kRoutes) {
        empty_ = scope_.counter("update_empty");
        reload_time_ = scope_.gauge("config_reload_time_ms");
      } else {
        refused_ = scope_.counter("config_fail");
        scope_.counter("config_conflict");  // never: filters of different types share nothing
      }
      view.type = Key::kType;
      view.name = key.name;
      if (!key.ready_with_fallback()) return;
      current_ = key.fallback();
      shared_->set(current_);
      shared_->set_ready();
    }

    Status start() {
      SLUICE_ASSIGN(subscription_, owner_.factory_->subscribe(key.source, Key::kType, *this, scope_));
      subscription_->start({key.name});
      return {};
    }

    std::shared_ptr<const Source> share() {
      return lent_.get(shared_, owner_.loop_, owner_.self_,
                       [watch = this, name = key.name](Watches& owner) { owner.forget(name, watch); });
    }
    std::shared_ptr<const Source> reader() const { return shared_; }
    bool unused() const { return lent_.unused(); }

    Status on_update(const Update& update) override {
      auto found = std::find_if(update.resources.begin(), update.resources.end(),
                                [&](const Resource& r) { return r.name == key.name; });
      if (found != update.resources.end()) return take(*found);
      // As Envoy: what is no longer sent stays in force, but for a filter, which its default takes the place of; whoever
      // waits for it need not any more.
      if constexpr (kRoutes) empty_.add();
      SLUICE_LOG(config, debug, "{} is not in the answer", key.what());
      if (!update.removed.empty() && Key::kRemovable) set(key.fallback());
      set_ready();
      return {};
    }

    void on_failure(FetchFailure) override {
      if (!current_ && key.fallback()) set(key.fallback());
      set_ready();
    }

    const Key key;
    WatchView view;

   private:
    Status take(const Resource& resource) {
      if (view.bytes && resource.hash == hash_) {
        view.version = resource.version;
        view.refused.clear();
        view.refused_bytes.reset();
        return {};
      }
      auto bytes = std::make_shared<const std::string>(resource.bytes);
      Result<std::shared_ptr<const Value>> made = Key::next(*owner_.resources_, versions_, bytes);
      if (*made == nullptr) {
        SLUICE_ASSIGN(const auto message, resource.unpack());
        made = key.make(*owner_.resources_, *message);
      }
      const WallTime now = owner_.loop_.wall_now();
      if (!made.ok()) {
        if constexpr (!kRoutes) refused_.add();
        view.refused = made.error().message;
        view.refused_version = resource.version;
        view.refused_at = now;
        view.refused_bytes = std::move(bytes);
        SLUICE_LOG(config, warn, "{} is refused: {}", key.what(), made.error().message);
        return std::move(made).error();
      }
      hash_ = resource.hash;
      view = {};
      view.type = Key::kType;
      view.name = key.name;
      view.version = resource.version;
      view.at = now;
      view.bytes = std::move(bytes);
      reload_.add();
      if constexpr (kRoutes)
        reload_time_.set(static_cast<uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count()));
      SLUICE_LOG(config, info, "{} is at version {}", key.what(), view.version);
      set(std::move(*made));
      set_ready();
      return {};
    }

    void set(std::shared_ptr<const Value> value) {
      current_ = std::move(value);
      if (owner_.hooks_.before_change) owner_.hooks_.before_change();
      shared_->set(current_);
    }

    void set_ready() {
      if (shared_->ready()) return;
      shared_->set_ready();
      if (owner_.hooks_.on_ready) owner_.hooks_.on_ready();
    }

    Watches& owner_;
    const std::shared_ptr<Shared> shared_;
    Lent<Source> lent_;  // shared_, to those who keep this
    stats::Scope scope_;
    const stats::Lease lease_;
    stats::Counter reload_, refused_, empty_;
    stats::Gauge reload_time_;
    std::shared_ptr<const Value> current_;
    typename Key::Versions versions_;
    uint64_t hash_ = 0;
    std::unique_ptr<Subscription> subscription_;
  };

  void forget(const std::string& name, const Watch* watch) {
    auto it = watches_.find(name);
    if (it == watches_.end()) return;
    std::erase_if(it->second, [&](const auto& w) { return w.get() == watch && w->unused(); });
    if (it->second.empty()) watches_.erase(it);
  }

  io::Loop& loop_;
  const stats::Scope root_;
  const WatchHooks& hooks_;
  SubscriptionFactory* factory_ = nullptr;
  const config::Resources* resources_ = nullptr;
  std::unordered_map<std::string, std::vector<std::unique_ptr<Watch>>> watches_;
  std::shared_ptr<Watches*> self_;  // what their users hold weakly: it may die after this
};

}  // namespace sluice::xds
