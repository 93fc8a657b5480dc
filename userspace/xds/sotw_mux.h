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
  void on_part(std::string_view begun, size_t total) override { coming_.take(begun, total); }
  void flush() override;

 private:
  struct State;
  std::unique_ptr<Type> make_type(ResourceType type) override;
  void on_interest(Type& type, const Interest& change) override;
  void on_resumed(Type& type) override;
  void on_expired(Type&, const std::vector<std::string>&) override {}
  struct Response;
  Status read_one(State& state, std::string_view type_url, std::string_view value, uint64_t hash,
                  Response& into);
  Status read_all(State& state, const TakenApart& taken, std::string_view bytes, Response& into);
  void want_request(State& state);
  void send(State& state);

  NodeField node_;
  TakenApart coming_;  // of the message that is not all there yet
};

}  // namespace sluice::xds
