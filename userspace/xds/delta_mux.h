#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "xds/delta_response.h"
#include "xds/mux.h"

namespace sluice::xds {

// The incremental protocol: requests say what is newly wanted or no longer, responses what has changed.
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
class DeltaMux final : public Mux {
 public:
  DeltaMux(Transport& transport, const Options& options);
  ~DeltaMux() override;

  void on_open() override;
  Status on_message(std::string_view bytes, MonotonicTime now) override;
  size_t on_part(std::string_view begun, size_t left) override;
  void flush() override;

 private:
  struct State;
  struct Ack {
    State* state;
    std::string nonce;
    std::string error;  // of a NACK
  };
  std::unique_ptr<Type> make_type(ResourceType type) override;
  void on_interest(Type& type, const Interest& change) override;
  void on_resumed(Type& type) override;
  void on_expired(Type& type, const std::vector<std::string>& names) override;
  struct Response;
  Status read_all(State& state, const TakenDelta& taken,
                  const envoy::service::discovery::v3::DeltaDiscoveryResponse& rest, Response& into);
  void send(State& state, const Ack* ack);

  std::deque<Ack> acks_;
  NodeField node_;
  std::unique_ptr<TakenDelta> coming_;  // of the message that is not all there yet
};

}  // namespace sluice::xds
