#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "xds/mux.h"

namespace sluice::xds {

// State of the world: each response names all there is of a type, each request all that is wanted.
class SotwMux final : public Mux {
 public:
  SotwMux(Transport& transport, Options options);
  ~SotwMux() override;

  void on_open() override;
  Status on_message(std::string_view bytes, MonotonicTime now) override;
  void flush() override;

 private:
  struct State;
  Type& type_state(ResourceType type) override;
  Type* find_type(ResourceType type) override;
  std::vector<Type*> all_types() override;
  void on_interest(Type& type, const Interest& change) override;
  void on_resumed(Type& type) override;
  void on_expired(Type&, const std::vector<std::string>&) override {}
  void want_request(State& state);
  void send(State& state);

  std::vector<std::unique_ptr<State>>
      states_;  // in order of their first watch, which is Envoy's of its types
  std::deque<std::string> keep_;  // bytes of the response under way that it does not hold itself
  bool first_request_ = true;  // of this stream
};

}  // namespace sluice::xds
