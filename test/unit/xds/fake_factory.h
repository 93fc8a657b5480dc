#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "xds/subscription.h"

namespace sluice::xds {

// Hands out subscriptions that a test answers.
struct FakeFactory final : SubscriptionFactory {
  explicit FakeFactory(ResourceType t) : wanted(t) {}
  struct Made final : Subscription {
    Made(FakeFactory& f, Subscriber& s) : factory(f), subscriber(s) { ++factory.alive; }
    ~Made() override {
      --factory.alive;
      std::erase(factory.all, this);
    }
    void start(const std::unordered_set<std::string>& n) override { names = n; }
    void set_names(const std::unordered_set<std::string>& n) override { names = n; }
    FakeFactory& factory;
    Subscriber& subscriber;
    std::unordered_set<std::string> names;
  };
  Result<std::unique_ptr<Subscription>> subscribe(const model::ConfigSource&, ResourceType type,
                                                  Subscriber& subscriber, const stats::Scope&) override {
    CHECK(type == wanted);
    if (!refuse.empty()) return Error{refuse};
    ++subscribed;
    auto made = std::make_unique<Made>(*this, subscriber);
    all.push_back(made.get());
    return std::unique_ptr<Subscription>(std::move(made));
  }
  void pause(ResourceType) override {}
  void resume(ResourceType) override {}

  const ResourceType wanted;
  std::string refuse;
  int subscribed = 0, alive = 0;
  std::vector<Made*> all;
};

}  // namespace sluice::xds
