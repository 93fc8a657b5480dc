#pragma once

#include <memory>
#include <string>

#include "core/random.h"
#include "core/stats.h"
#include "io/loop.h"
#include "model/config_source.h"
#include "xds/grpc_stream.h"
#include "xds/mux.h"
#include "xds/plane_view.h"

namespace sluice::xds {

// The waits between tries: a random part of an interval that doubles up to a limit. Envoy's
// JitteredExponentialBackOffStrategy.
class BackOff {
 public:
  BackOff(Duration base, Duration most) : base_(base), most_(most), next_(base) {}
  Duration next(Random& random);
  void reset() { next_ = base_; }

 private:
  Duration base_, most_, next_;
};

// One stream to a control plane with the protocol on it: connects, stays connected, keeps to the rate limit, counts.
class PlaneClient final : private Mux::Transport, private GrpcStream::Callbacks {
 public:
  // `scope`: control_plane.* lies in it. `path`: of the gRPC method.
  PlaneClient(io::Loop& loop, ext::ClusterManager& clusters, Random& random, model::ControlPlane config,
              std::string_view path, Mux::Options options, const stats::Scope& scope);
  ~PlaneClient();

  Mux& mux() { return *mux_; }
  PlaneView view() const { return {config_.services.front().cluster, stream_.open(), complained_}; }
  void start();  // no effect later
  void stop();  // for good: the process ends

 private:
  // Mux::Transport
  bool open() const override { return stream_.open(); }
  bool take_token() override;
  void send(const google::protobuf::Message& request, std::initializer_list<std::string_view> rest) override;
  void note_pending(size_t requests) override;
  void note_identifier(const std::string& control_plane) override;
  void flush_soon() override;
  void wake_at(MonotonicTime when) override;
  // GrpcStream::Callbacks
  void on_open() override;
  size_t on_part(std::string_view begun, size_t left) override { return mux_->on_part(begun, left); }
  Status on_message(std::string_view bytes) override;
  void on_closed(int64_t status, std::string_view why) override;

  static void retry(io::Timer& timer);
  static void token_back(io::Timer& timer);
  static void ttl_over(io::Timer& timer);
  static void flush(io::TurnEnd& hook);

  io::Loop& loop_;
  Random& random_;
  const model::ControlPlane config_;
  const std::string path_;
  const stats::Scope scope_;
  const stats::Lease lease_;  // the scope may be a cluster's, which may go first
  stats::Gauge connected_state_, pending_requests_;
  stats::Counter rate_limit_enforced_;
  std::string identifier_;
  std::unique_ptr<Mux> mux_;
  GrpcStream stream_;
  BackOff back_off_;
  io::Timer retry_timer_, token_timer_, ttl_timer_;
  io::TurnEnd flush_;
  double tokens_ = 0;
  MonotonicTime tokens_at_{};
  std::string complained_;  // about what the log has had its line
  bool started_ = false, stopped_ = false, pending_used_ = false;
};

}  // namespace sluice::xds
