#pragma once

#include <memory>
#include <string_view>

#include "xds/mux.h"
#include "xds/resource.h"

namespace sluice::xds {

// State of the world: each response names all there is of a type, each request all that is wanted.
class SotwMux final : public Mux {
 public:
  SotwMux(Transport& transport, const Options& options);
  ~SotwMux() override;

  void on_open() override;
  Status on_message(std::string_view bytes, MonotonicTime now) override;
  size_t on_part(std::string_view begun, size_t left) override;
  void flush() override;

 private:
  struct State;
  std::unique_ptr<Type> make_type(ResourceType type) override;
  void on_interest(Type& type, const Interest& change) override;
  void on_resumed(Type& type) override;
  void on_expired(Type&, const std::vector<std::string>&) override {}
  struct Response;
  size_t take(std::string_view bytes);
  Status read_one(State& state, std::string_view type_url, std::string_view value, uint64_t hash,
                  Response& into);
  Status read_all(State& state, Response& into);
  void want_request(State& state);
  void send(State& state);

  NodeField node_;
  std::unique_ptr<Response> coming_;  // the one that is not all there yet
};

}  // namespace sluice::xds
