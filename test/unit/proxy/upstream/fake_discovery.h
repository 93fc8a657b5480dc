#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/upstream/endpoint_discovery.h"

namespace sluice::upstream {

// Endpoints in the hands of the test.
struct FakeDiscovery final : EndpointDiscovery {
  struct FakeFeed final : Feed {
    FakeFeed(FakeDiscovery& d, Sink& s) : discovery(d), sink(s) { discovery.feeds.push_back(this); }
    ~FakeFeed() override { std::erase(discovery.feeds, this); }
    void start() override {
      if (discovery.at_once) give(discovery.at_once);
    }
    void give(const std::shared_ptr<const model::Assignment>& assignment) {
      sink.on_assignment(assignment);
      sink.on_answered();
    }
    FakeDiscovery& discovery;
    Sink& sink;
  };
  Result<std::unique_ptr<Feed>> discover(const std::shared_ptr<const model::Cluster>&, Sink& sink) override {
    if (refuse) return Error{"no such source"};
    return std::unique_ptr<Feed>(std::make_unique<FakeFeed>(*this, sink));
  }
  std::vector<FakeFeed*> feeds;
  std::shared_ptr<const model::Assignment> at_once;
  bool refuse = false;
};

inline std::shared_ptr<model::Cluster> eds(const std::string& name, uint64_t hash) {
  auto c = std::make_shared<model::Cluster>();
  c->name = name;
  c->hash = hash;
  c->type = model::ClusterType::eds;
  return c;
}

}  // namespace sluice::upstream
