#pragma once

#include <memory>

#include "xds/plane_client.h"
#include "xds/subscription.h"
#include "xds/subscription_stats.h"

namespace sluice::xds {

// A subscription on a stream that it may share. Statistics as Envoy's GrpcSubscriptionImpl counts them.
class GrpcSubscription final : public Subscription, private Watcher {
 public:
  GrpcSubscription(io::Loop& loop, std::shared_ptr<PlaneClient> plane, bool start_plane, ResourceType type,
                   Subscriber& subscriber, Duration initial_fetch_timeout, const stats::Scope& scope);
  ~GrpcSubscription() override;

  void start(const std::unordered_set<std::string>& names) override;
  void set_names(const std::unordered_set<std::string>& names) override;

 private:
  Status on_update(const Update& update) override;
  void on_rejected(const Error& why) override;
  void on_disconnected() override;
  bool takes_same() const override { return subscriber_.takes_same(); }
  bool only_counts() const override { return subscriber_.only_counts(); }
  void on_same(uint64_t responses, const std::string& version, MonotonicTime at) override;
  static void timed_out(io::Timer& timer);

  io::Loop& loop_;
  std::shared_ptr<PlaneClient> plane_;
  const bool start_plane_;
  const ResourceType type_;
  Subscriber& subscriber_;
  const Duration initial_fetch_timeout_;
  SubscriptionStats stats_;
  io::Timer timer_;
  std::unique_ptr<Watch> watch_;
};

}  // namespace sluice::xds
