#pragma once

#include <memory>
#include <string_view>

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
  std::unique_ptr<Type> make_type(ResourceType type) override;
  void on_interest(Type& type, const Interest& change) override;
  void on_resumed(Type& type) override;
  void on_expired(Type&, const std::vector<std::string>&) override {}
  struct Response;
  Status read_one(State& state, std::string_view type_url, std::string_view value, Response& into);
  void want_request(State& state);
  void send(State& state);

  bool first_request_ = true;  // of this stream
};

}  // namespace sluice::xds
