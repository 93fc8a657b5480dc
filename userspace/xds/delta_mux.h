#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

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
  void send(State& state, const Ack* ack);

  std::deque<Ack> acks_;
  NodeField node_;
};

}  // namespace sluice::xds
