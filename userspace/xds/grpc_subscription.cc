#include "xds/grpc_subscription.h"

#include "core/log.h"

namespace sluice::xds {

GrpcSubscription::GrpcSubscription(io::Loop& loop, std::shared_ptr<PlaneClient> plane, bool start_plane,
                                   ResourceType type, Subscriber& subscriber, Duration initial_fetch_timeout,
                                   const stats::Scope& scope)
    : loop_(loop),
      plane_(std::move(plane)),
      start_plane_(start_plane),
      type_(type),
      subscriber_(subscriber),
      initial_fetch_timeout_(initial_fetch_timeout),
      stats_(scope),
      timer_(loop.timers(), &timed_out, this) {}

GrpcSubscription::~GrpcSubscription() {
  watch_.reset();
  // The stream may be what called whoever ends this subscription.
  struct Gone final : io::Deferred {
    explicit Gone(std::shared_ptr<PlaneClient> p) : plane(std::move(p)) {}
    std::shared_ptr<PlaneClient> plane;
  };
  if (plane_.use_count() == 1) loop_.defer_delete(std::make_unique<Gone>(std::move(plane_)));
}

void GrpcSubscription::start(const std::unordered_set<std::string>& names) {
  if (initial_fetch_timeout_ > Duration(0)) timer_.arm(loop_.now() + initial_fetch_timeout_);
  watch_ = plane_->mux().watch(type_, names, *this);
  stats_.update_attempt.add();
  if (start_plane_) plane_->start();
}

void GrpcSubscription::set_names(const std::unordered_set<std::string>& names) {
  watch_->set_names(names);
  stats_.update_attempt.add();
}

Status GrpcSubscription::on_update(const Update& update) {
  timer_.cancel();
  stats_.update_attempt.add();
  Status outcome = subscriber_.on_update(update);
  if (outcome) {
    stats_.accepted(loop_.wall_now(), update.version);
    return outcome;
  }
  stats_.update_rejected.add();
  subscriber_.on_failure(FetchFailure::rejected);
  return outcome;
}

void GrpcSubscription::on_same(uint64_t responses, const std::string& version, MonotonicTime at) {
  stats_.update_attempt.add(responses);
  subscriber_.on_same(responses);
  stats_.accepted(loop_.wall_now() - (loop_.now() - at), version, responses);
}

void GrpcSubscription::on_rejected(const Error&) {
  timer_.cancel();
  stats_.update_attempt.add();
  stats_.update_rejected.add();
  subscriber_.on_failure(FetchFailure::rejected);
}

void GrpcSubscription::on_disconnected() {
  stats_.update_attempt.add();
  stats_.update_failure.add();
}

void GrpcSubscription::timed_out(io::Timer& timer) {
  auto& self = *timer.owner<GrpcSubscription>();
  SLUICE_LOG(config, warn, "gRPC config: initial fetch timed out for {} ({})", type_url(self.type_),
             self.stats_.scope.prefix());
  self.stats_.update_attempt.add();
  self.stats_.init_fetch_timeout.add();
  self.subscriber_.on_failure(FetchFailure::timed_out);
}

}  // namespace sluice::xds
