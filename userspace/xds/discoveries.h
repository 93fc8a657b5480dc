#pragma once

#include <string>
#include <vector>

#include "xds/scopes.h"
#include "xds/watches.h"

namespace sluice::xds {

// ECDS. https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/extension
struct FilterKey {
  using Source = config::FilterSource;
  using Value = ext::HttpFilterFactory;
  static constexpr ResourceType kType = ResourceType::extension_config;
  static constexpr bool kRemovable = true;

  explicit FilterKey(const config::FilterRequest& r) : source(r.source), name(r.name), request(r) {}
  model::ConfigSource source;
  std::string name;
  config::FilterRequest request;
  // Filters with a default of their own share nothing: nobody can tell whether two defaults are equal.
  bool operator==(const FilterKey& other) const {
    return name == other.name && source == other.source && request.types == other.request.types &&
           !request.fallback && !other.request.fallback;
  }

  std::string what() const { return "filter '" + name + "' (ecds)"; }
  stats::Scope scope(const stats::Scope& root) const;
  std::shared_ptr<const Value> fallback() const { return request.fallback; }
  bool ready_with_fallback() const { return request.ready_with_fallback; }
  struct Versions {};
  static std::shared_ptr<const Value> next(const config::Resources&, Versions&,
                                           const std::shared_ptr<const std::string>&) {
    return nullptr;
  }
  Result<std::shared_ptr<const Value>> make(const config::Resources& resources,
                                            const google::protobuf::Message& message) const;
};

// What listeners discover beside themselves.
class Discoveries final : public config::Discovery {
 public:
  Discoveries(io::Loop& loop, const stats::Scope& root)
      : routes_(loop, root, hooks_), filters_(loop, root, hooks_), scopes_(loop, root, hooks_, routes_) {}

  // Until then nothing is asked for. Both outlive this. An error: a source that cannot be used.
  Status start(SubscriptionFactory& factory, const config::Resources& resources);
  // Called when something may have become ready.
  void when_ready(std::function<void()> f) {
    hooks_.on_ready = [this, told = std::move(f)] {
      scopes_.settle();
      told();
    };
  }
  // Called before workers see something new, which may need what else is on its way to them.
  void before_change(std::function<void()> f) { hooks_.before_change = std::move(f); }

  Result<std::shared_ptr<const model::RouteSource>> routes(const model::ConfigSource& source,
                                                           const std::string& name,
                                                           const std::string& stat_prefix) override;
  Result<std::shared_ptr<const model::ScopeSource>> scopes(const config::ScopesRequest& request) override {
    return scopes_.get(request);
  }
  Result<std::shared_ptr<const config::FilterSource>> filter(const config::FilterRequest& request) override;

  std::vector<WatchView> route_views() const { return routes_.view(); }
  std::vector<WatchView> filter_views() const { return filters_.view(); }
  std::vector<ScopesView> scopes_views() const { return scopes_.view(); }

 private:
  WatchHooks hooks_;
  Watches<RouteKey> routes_;
  Watches<FilterKey> filters_;
  Scopes scopes_;  // uses routes_
};

}  // namespace sluice::xds
