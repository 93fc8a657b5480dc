#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/resources.h"
#include "xds/subscription.h"

namespace sluice::xds {

// Who runs the listeners that are discovered.
class ListenerSink {
 public:
  virtual Status put_listener(std::shared_ptr<const model::Listener> listener, const Resource& resource) = 0;
  virtual bool remove_listener(const std::string& name) = 0;  // whether it served or warmed
  // It was refused; what is there of that name stays.
  virtual void note_refused_listener(const Resource& resource, const std::string& why) = 0;
  virtual std::vector<std::string> discovered_listeners() const = 0;

 protected:
  ~ListenerSink() = default;
};

// LDS. https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/lds
class Lds final : public Subscriber {
 public:
  Lds(SubscriptionFactory& factory, const config::Resources& resources, ListenerSink& sink)
      : factory_(factory), resources_(resources), sink_(sink) {}

  Status start(const model::ConfigSource& source, const stats::Scope& root);
  // The first answer has come (good or bad), or was waited for long enough.
  bool initialized() const { return initialized_; }
  void when_initialized(std::function<void()> f) { on_initialized_ = std::move(f); }
  const std::string& version() const { return version_; }  // of the last update that changed something

  Status on_update(const Update& update) override;
  void on_failure(FetchFailure failure) override;

 private:
  void set_initialized();
  Status put(const Resource& resource);
  bool remove(const std::string& name);

  SubscriptionFactory& factory_;
  const config::Resources& resources_;
  ListenerSink& sink_;
  std::unique_ptr<Subscription> subscription_;
  std::function<void()> on_initialized_;
  std::unordered_map<std::string, uint64_t> accepted_;  // name → hash: those that come again change nothing
  bool initialized_ = false;
  std::string version_;
};

}  // namespace sluice::xds
