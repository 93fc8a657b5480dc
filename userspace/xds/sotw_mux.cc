#include "xds/sotw_mux.h"

#include "core/log.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/resource.h"

namespace sluice::xds {

namespace discovery = envoy::service::discovery::v3;

constexpr int kInternal = 13;  // google.rpc.Code of a NACK, as Envoy's
constexpr std::string_view kWrapped = "type.googleapis.com/envoy.service.discovery.v3.Resource";

struct SotwMux::State : Type {
  using Type::Type;
  std::string version, nonce;
  std::string error;  // of the response with `nonce`
  bool asked = false;  // a watch was there once: the type is asked for again on each stream
  bool pending = false;
};

SotwMux::SotwMux(Transport& transport, Options options) : Mux(transport, std::move(options)) {}

SotwMux::~SotwMux() = default;

Mux::Type* SotwMux::find_type(ResourceType type) {
  for (const auto& state : states_) {
    if (state->type == type) return state.get();
  }
  return nullptr;
}

Mux::Type& SotwMux::type_state(ResourceType type) {
  if (Type* found = find_type(type)) return *found;
  return *states_.emplace_back(std::make_unique<State>(type));
}

std::vector<Mux::Type*> SotwMux::all_types() {
  std::vector<Type*> out;
  for (const auto& state : states_) out.push_back(state.get());
  return out;
}

void SotwMux::on_interest(Type& type, const Interest&) {
  auto& state = static_cast<State&>(type);
  state.asked = true;
  want_request(state);
}

void SotwMux::on_resumed(Type& type) {
  if (static_cast<State&>(type).pending) transport_.flush_soon();
}

void SotwMux::on_open() {
  first_request_ = true;
  for (const auto& state : states_) {
    state->nonce.clear();
    state->error.clear();
    // Nobody wants it any more: a first request without names would ask for everything.
    state->pending = false;
    if (state->watches > 0) want_request(*state);
  }
  flush();
}

void SotwMux::want_request(State& state) {
  // Without a stream nothing has to be remembered: a new one begins with everything.
  state.pending = true;
  if (transport_.open()) transport_.flush_soon();
}

void SotwMux::flush() {
  if (!transport_.open()) return;
  size_t waiting = 0;
  for (size_t i = 0; i < states_.size(); ++i) {
    State& state = *states_[i];
    if (!state.pending || state.pauses > 0 || !state.asked) continue;
    if (waiting > 0 || !transport_.take_token())
      ++waiting;
    else
      send(state);
  }
  transport_.note_pending(waiting);
}

void SotwMux::send(State& state) {
  discovery::DiscoveryRequest request;
  request.set_type_url(std::string(type_url(state.type)));
  request.set_version_info(state.version);
  request.set_response_nonce(state.nonce);
  for (const auto& [name, watches] : state.interest) request.add_resource_names(name);
  if (first_request_ || !options_.node_on_first_message_only) *request.mutable_node() = options_.node;
  if (!state.error.empty()) {
    request.mutable_error_detail()->set_code(kInternal);
    request.mutable_error_detail()->set_message(nack_text(std::move(state.error)));
    state.error.clear();
  }
  first_request_ = false;
  state.pending = false;
  transport_.send(request);
}

Status SotwMux::on_message(std::string_view bytes, MonotonicTime now) {
  discovery::DiscoveryResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error{"the control plane sent " + std::to_string(bytes.size()) +
                 " bytes that are no DiscoveryResponse"};
  const auto type = type_of(response.type_url());
  auto* state = type ? static_cast<State*>(find_type(*type)) : nullptr;
  if (state == nullptr || !state->asked) {
    SLUICE_LOG(config, warn, "ignoring a response for {}, which nobody subscribes to", response.type_url());
    return {};
  }
  if (response.has_control_plane()) note_control_plane(response.control_plane());
  state->nonce = response.nonce();
  if (state->watches == 0) {
    // The last watch went while this was on its way. Resources for nobody are not acknowledged, as in Envoy.
    if (response.resources().empty())
      state->version = response.version_info();
    else
      want_request(*state);
    return {};
  }

  Update update{.version = response.version_info()};
  std::vector<std::pair<std::string, std::optional<Duration>>> ttls;
  bool heartbeats = false;
  auto read_one = [&](const google::protobuf::Any& any) -> Status {
    const google::protobuf::Any* content = &any;
    std::string name, version = response.version_info();
    std::optional<Duration> ttl;
    discovery::Resource wrapped;
    google::protobuf::Any inner;
    if (any.type_url() == kWrapped) {
      if (!wrapped.ParseFromString(any.value()))
        return Error{"Unable to unpack as envoy.service.discovery.v3.Resource"};
      name = wrapped.name();
      version = wrapped.version();
      if (wrapped.has_ttl())
        ttl = std::chrono::seconds(wrapped.ttl().seconds()) + std::chrono::nanoseconds(wrapped.ttl().nanos());
      if (!wrapped.has_resource() && version == state->version) {
        heartbeats = true;
        ttls.emplace_back(name, ttl);
        return {};
      }
      content = &wrapped.resource();
    }
    if (content->type_url() != response.type_url())
      return Error{content->type_url() + " does not match the message-wide type URL " + response.type_url() +
                   " in DiscoveryResponse"};
    if (name.empty()) {
      const auto found = name_of(content->value());
      if (!found)
        return Error{"Unable to unpack as " + response.type_url().substr(response.type_url().rfind('/') + 1)};
      name = *found;
    }
    ttls.emplace_back(name, ttl);
    if (!state->wanted(name)) return {};
    // A wrapped resource's bytes live in `wrapped`, which goes: unpacked from a copy that the update keeps.
    std::string_view value = content->value();
    if (content != &any) value = keep_.emplace_back(content->value());
    SLUICE_ASSIGN(Resource resource, read(*state, name, version, value));
    update.resources.push_back(std::move(resource));
    return {};
  };
  Status outcome;
  for (const auto& any : response.resources()) {
    outcome = read_one(any);
    if (!outcome) break;
  }
  if (!outcome) {
    outcome = reject(*state, std::move(outcome).error());
  } else {
    for (const auto& [name, ttl] : ttls) {
      if (state->wanted(name)) set_expiry(*state, name, ttl, now);
    }
    // Heartbeats say that resources are still there, not what they are: then the rest is a change, not all there is.
    update.delta = heartbeats;
    if (!heartbeats || !update.resources.empty()) outcome = deliver(*state, update);
    if (outcome) {
      note_accepted(*state, update);
      state->version = response.version_info();
    }
  }
  keep_.clear();
  state->error = outcome ? "" : outcome.error().message;
  if (!outcome)
    SLUICE_LOG(config, warn, "{} of version {} refused: {}", response.type_url(), response.version_info(),
               state->error);
  state->pending = true;
  if (state->pauses == 0 && transport_.open() && transport_.take_token())
    send(*state);
  else
    transport_.flush_soon();
  return {};
}

}  // namespace sluice::xds
