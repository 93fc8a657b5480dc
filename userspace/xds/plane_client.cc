#include "xds/plane_client.h"

#include <algorithm>

#include "core/log.h"
#include "http/grpc.h"
#include "xds/delta_mux.h"
#include "xds/sotw_mux.h"

namespace sluice::xds {

Duration BackOff::next(Random& random) {
  const auto interval = static_cast<uint64_t>(std::max<int64_t>(next_.count(), 1));
  next_ = std::min(next_ * 2, most_);
  return std::min(Duration(static_cast<int64_t>(random.below(interval))), most_);
}

namespace {

std::unique_ptr<Mux> make_mux(bool delta, Mux::Transport& transport, const Mux::Options& options) {
  if (delta) return std::make_unique<DeltaMux>(transport, options);
  return std::make_unique<SotwMux>(transport, options);
}

}  // namespace

PlaneClient::PlaneClient(io::Loop& loop, ext::ClusterManager& clusters, Random& random,
                         model::ControlPlane config, std::string_view path, Mux::Options options,
                         const stats::Scope& scope)
    : loop_(loop),
      random_(random),
      config_(std::move(config)),
      path_(path),
      scope_(scope.scope("control_plane")),
      lease_((scope.prefix().empty() ? scope_ : scope).lease()),
      mux_(make_mux(config_.delta, *this, options)),
      stream_(loop, clusters, config_.services.front(), path, *this),
      back_off_(config_.services.front().retry_base, config_.services.front().retry_max),
      retry_timer_(loop.timers(), &retry, this),
      token_timer_(loop.timers(), &token_back, this),
      ttl_timer_(loop.timers(), &ttl_over, this),
      flush_(&flush, this) {
  connected_state_ = scope_.gauge("connected_state");
  pending_requests_ = scope_.gauge("pending_requests");
  rate_limit_enforced_ = scope_.counter("rate_limit_enforced");
  scope_.text("identifier", "");
  if (config_.rate_limit) tokens_ = config_.rate_limit->first;
  tokens_at_ = loop.now();
}

PlaneClient::~PlaneClient() = default;

void PlaneClient::start() {
  if (std::exchange(started_, true)) return;
  stream_.start();
}

void PlaneClient::stop() {
  stopped_ = true;
  retry_timer_.cancel();
  token_timer_.cancel();
  ttl_timer_.cancel();
  stream_.close();
  connected_state_.set(0);
}

bool PlaneClient::take_token() {
  if (!config_.rate_limit) return true;
  const auto [most, rate] = *config_.rate_limit;
  const std::chrono::duration<double> passed = loop_.now() - std::exchange(tokens_at_, loop_.now());
  tokens_ = std::min<double>(most, tokens_ + passed.count() * rate);
  if (tokens_ >= 1) {
    tokens_ -= 1;
    return true;
  }
  rate_limit_enforced_.add();
  if (!token_timer_.armed()) {
    const std::chrono::duration<double> wait((1 - tokens_) / rate);
    // A fraction more: at that time there is a whole token.
    token_timer_.arm(loop_.now() + std::chrono::duration_cast<Duration>(wait) + std::chrono::milliseconds(1));
  }
  return false;
}

void PlaneClient::send(const google::protobuf::Message& request,
                       std::initializer_list<std::string_view> rest) {
  stream_.send(request.SerializeAsString(), rest);
}

void PlaneClient::note_pending(size_t requests) {
  if (requests == 0 && !pending_used_) return;
  pending_used_ = true;
  pending_requests_.set(requests);
}

void PlaneClient::note_identifier(const std::string& control_plane) {
  if (identifier_ == control_plane) return;
  identifier_ = control_plane;
  scope_.text("identifier", identifier_);
}

void PlaneClient::flush_soon() {
  if (!stopped_) loop_.schedule(flush_);
}

void PlaneClient::wake_at(MonotonicTime when) {
  if (!ttl_timer_.armed() || when < ttl_timer_.deadline()) ttl_timer_.arm(when);
}

void PlaneClient::on_open() {
  connected_state_.set(1);
  SLUICE_LOG(config, debug, "{}: stream to cluster '{}' begins", path_, config_.services.front().cluster);
  mux_->on_open();
}

Status PlaneClient::on_message(std::string_view bytes) {
  back_off_.reset();
  if (!complained_.empty()) {
    complained_.clear();
    SLUICE_LOG(config, info, "{}: the control plane behind cluster '{}' answers again", path_,
               config_.services.front().cluster);
  }
  return mux_->on_message(bytes, loop_.now());
}

void PlaneClient::on_closed(int64_t status, std::string_view why) {
  if (stopped_) return;
  connected_state_.set(0);
  const Duration wait = back_off_.next(random_);
  // Once for each reason: a control plane that is away for an hour does not fill the log.
  const bool quiet = status == 0 || complained_ == why;
  if (status != 0) complained_ = why;
  const auto level = quiet ? log::Level::debug : log::Level::warn;
  SPDLOG_LOGGER_CALL(&log::logger(log::Component::config), level,
                     "{} gRPC config stream to {} closed: {}, {}; again in {} ms", path_,
                     config_.services.front().cluster, status, why,
                     std::chrono::duration_cast<std::chrono::milliseconds>(wait).count());
  retry_timer_.arm(loop_.now() + wait);
  mux_->on_closed();
}

void PlaneClient::retry(io::Timer& timer) {
  timer.owner<PlaneClient>()->stream_.start();
}

void PlaneClient::token_back(io::Timer& timer) {
  timer.owner<PlaneClient>()->mux_->flush();
}

void PlaneClient::ttl_over(io::Timer& timer) {
  auto* self = timer.owner<PlaneClient>();
  self->mux_->on_time(self->loop_.now());
}

void PlaneClient::flush(io::TurnEnd& hook) {
  hook.owner<PlaneClient>()->mux_->flush();
}

}  // namespace sluice::xds
