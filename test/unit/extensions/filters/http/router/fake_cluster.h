#pragma once

#include <memory>

#include "sluice/ext/http_upstream.h"

namespace sluice::extensions::router {

// A cluster whose retry circuit breaker the test turns.
struct FakeCluster final : ext::HttpCluster, std::enable_shared_from_this<FakeCluster> {
  std::shared_ptr<ext::HttpCluster> hold() override { return shared_from_this(); }
  ext::HttpClusterCodeStats& code_stats() override { return codes; }
  std::unique_ptr<ext::HttpTry> make_try(const ext::Upstream::Origin&, const ext::HttpRequestTraits&,
                                         http::StreamReceiver&, ext::HttpTry::Callbacks&) override {
    return nullptr;
  }
  ext::HttpClusterStats& http_stats() override { return stats; }
  stats::Scope stats_scope() override { return scope; }
  bool acquire_retry(ext::RoutingPriority) override {
    if (free_retries == 0) return false;
    --free_retries;
    return true;
  }
  void release_retry(ext::RoutingPriority) override { ++free_retries; }
  Duration max_stream_duration() const override { return {}; }
  Drop drops() override { return Drop::no; }
  ext::HttpCodeStats* zone_stats(std::string_view) override { return nullptr; }
  uint64_t value(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == "cluster.c." + name) return m.value;
    return ~0ull;
  }

  stats::Store store{1};
  stats::Scope scope = store.root(0).scope("cluster").scope("c");
  ext::HttpClusterStats stats{scope};
  ext::HttpClusterCodeStats codes{scope};
  int free_retries = 3;
};

}  // namespace sluice::extensions::router
