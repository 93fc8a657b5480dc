#include "xds/delta_mux.h"

#include <algorithm>

#include "core/log.h"
#include "core/xxhash.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/resource.h"

namespace sluice::xds {

namespace discovery = envoy::service::discovery::v3;

// Which resources were asked for by name, which came by the wildcard, and in which version they are held. Envoy's
// NewDeltaSubscriptionState.
struct DeltaMux::State : Type {
  using Type::Type;

  // Nothing: not there (yet).
  std::map<std::string, std::optional<std::string>> requested;
  std::map<std::string, std::string> by_wildcard;
  // No longer asked for by name while there is a wildcard: the server will say whether that has it.
  std::map<std::string, std::string> ambiguous;
  std::set<std::string> added, removed;  // to be told
  bool legacy_wildcard = true;  // never asked for a name: a first request without names means everything
  bool sent = false;  // on this stream

  bool wildcard() const { return requested.contains("*"); }

  void change(const Interest& interest) {
    for (const std::string& name : interest.added) {
      if (name != "*") legacy_wildcard = false;
      std::optional<std::string> version;
      for (auto* map : {&by_wildcard, &ambiguous}) {
        if (auto node = map->extract(name); node) version = std::move(node.mapped());
      }
      requested[name] = std::move(version);
      removed.erase(name);
      added.insert(name);
    }
    for (const std::string& name : interest.removed) {
      const auto at = requested.find(name);
      added.erase(name);
      if (at == requested.end()) continue;
      if (wildcard() && name != "*" && at->second) ambiguous[name] = *at->second;
      requested.erase(at);
      removed.insert(name);
      legacy_wildcard = false;
      if (name == "*") by_wildcard.clear(), ambiguous.clear();
    }
  }

  bool wants_to_send() const {
    if (!asked) return false;
    if (!added.empty() || !removed.empty()) return sent || !requested.empty() || legacy_wildcard;
    return !sent && (!requested.empty() || (legacy_wildcard && watches > 0));
  }

  const std::string* held(const std::string& name) const {
    if (const auto at = requested.find(name); at != requested.end())
      return at->second ? &*at->second : nullptr;
    if (const auto at = by_wildcard.find(name); at != by_wildcard.end()) return &at->second;
    if (const auto at = ambiguous.find(name); at != ambiguous.end()) return &at->second;
    return nullptr;
  }

  void hold(const std::string& name, const std::string& version) {
    if (const auto at = requested.find(name); at != requested.end()) {
      at->second = version;
    } else if (wildcard()) {
      by_wildcard[name] = version;
      ambiguous.erase(name);
    }
  }

  void drop(const std::string& name) {
    if (const auto at = requested.find(name); at != requested.end()) {
      at->second.reset();
    } else if (ambiguous.erase(name) == 0) {
      by_wildcard.erase(name);
    }
  }

  void first_request(discovery::DeltaDiscoveryRequest& request) {
    bool legacy = legacy_wildcard;
    if (legacy)
      requested.emplace("*", std::nullopt);
    else
      legacy = added.empty() && removed.empty() && requested.size() == 1 && wildcard();
    auto& versions = *request.mutable_initial_resource_versions();
    for (const auto& [name, version] : requested) {
      if (version) versions[name] = *version;
      added.insert(name);
    }
    for (const auto& [name, version] : by_wildcard) versions[name] = version;
    for (const auto& [name, version] : ambiguous) versions[name] = version;
    if (legacy) added.clear();
    removed.clear();
  }
};

DeltaMux::DeltaMux(Transport& transport, const Options& options)
    : Mux(transport), node_(NodeField::of<discovery::DeltaDiscoveryRequest>(options)) {}

DeltaMux::~DeltaMux() = default;

std::unique_ptr<Mux::Type> DeltaMux::make_type(ResourceType type) {
  return std::make_unique<State>(type);
}

void DeltaMux::on_interest(Type& type, const Interest& change) {
  auto& state = static_cast<State&>(type);
  state.change(change);
  if (transport_.open() && state.wants_to_send()) transport_.flush_soon();
}

void DeltaMux::on_resumed(Type&) {
  if (transport_.open()) transport_.flush_soon();
}

void DeltaMux::on_expired(Type& type, const std::vector<std::string>& names) {
  for (const std::string& name : names) static_cast<State&>(type).drop(name);
}

void DeltaMux::on_open() {
  node_.begin();
  acks_.clear();
  for (const auto& type : types()) static_cast<State&>(*type).sent = false;
  flush();
}

void DeltaMux::flush() {
  if (!transport_.open()) return;
  bool tokens = true;
  // Answers first; what has changed in the meantime goes with them.
  for (auto ack = acks_.begin(); ack != acks_.end() && tokens;) {
    if (ack->state->pauses > 0) {
      ++ack;
    } else if ((tokens = transport_.take_token())) {
      const Ack now = std::move(*ack);
      ack = acks_.erase(ack);
      send(*now.state, &now);
    }
  }
  size_t waiting = 0;
  for (size_t i = 0; i < types().size(); ++i) {
    auto& state = static_cast<State&>(*types()[i]);
    if (state.pauses > 0 || !state.wants_to_send()) continue;
    if (tokens && (tokens = transport_.take_token()))
      send(state, nullptr);
    else
      ++waiting;
  }
  transport_.note_pending(waiting + acks_.size());
}

void DeltaMux::send(State& state, const Ack* ack) {
  discovery::DeltaDiscoveryRequest request;
  if (!std::exchange(state.sent, true)) state.first_request(request);
  for (const std::string& name : state.added) request.add_resource_names_subscribe(name);
  for (const std::string& name : state.removed) request.add_resource_names_unsubscribe(name);
  state.added.clear();
  state.removed.clear();
  request.set_type_url(std::string(type_url(state.type)));
  if (ack != nullptr) {
    request.set_response_nonce(ack->nonce);
    if (!ack->error.empty()) {
      request.mutable_error_detail()->set_code(kInternal);
      request.mutable_error_detail()->set_message(nack_text(ack->error));
    }
  }
  transport_.send(request, {node_.next()});
}

Status DeltaMux::on_message(std::string_view bytes, MonotonicTime now) {
  discovery::DeltaDiscoveryResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error{"the control plane sent " + std::to_string(bytes.size()) +
                 " bytes that are no DeltaDiscoveryResponse"};
  auto* state = static_cast<State*>(asked_type(response.type_url()));
  if (state == nullptr) return {};
  if (response.has_control_plane()) note_control_plane(response.control_plane());

  Read read = begin_read(now);
  Update& update = read.update;
  update.delta = true;
  update.version = response.system_version_info();
  std::unordered_set<std::string_view> names;
  auto heartbeat = [&](const discovery::Resource& r) {
    const std::string* version = state->held(r.name());
    return !r.has_resource() && version != nullptr && *version == r.version();
  };
  auto read_all = [&]() -> Status {
    for (const auto& r : response.resources()) {
      if (!names.insert(r.name()).second)
        return Error{"duplicate name " + r.name() + " found among added/updated resources"};
      if (heartbeat(r)) continue;
      if (!r.has_resource() && r.aliases_size() > 0) continue;  // an alias that leads nowhere
      if (r.resource().type_url() != response.type_url())
        return Error{"type URL " + r.resource().type_url() +
                     " embedded in an individual Any does not match the message-wide type URL " +
                     response.type_url() + " in DeltaDiscoveryResponse"};
      SLUICE_TRY(this->read(*state, r.name(), r.version(), r.resource().value(),
                            xxhash64(r.resource().value()), read));
    }
    for (const std::string& name : response.removed_resources()) {
      if (!names.insert(name).second)
        return Error{"duplicate name " + name + " found in the union of added+removed resources"};
      update.removed.push_back(name);
    }
    return {};
  };
  Status outcome = read_all();
  if (!outcome) {
    outcome = reject(*state, std::move(outcome).error());
  } else {
    outcome = deliver(*state, read);
    if (outcome) {
      for (const auto& r : response.resources()) {
        if (!state->wildcard() && !state->requested.contains(r.name())) continue;
        set_expiry(*state, r.name(),
                   r.has_ttl() ? std::optional<Duration>(std::chrono::seconds(r.ttl().seconds()) +
                                                         std::chrono::nanoseconds(r.ttl().nanos()))
                               : std::nullopt,
                   now);
        state->hold(r.name(), r.version());
      }
      for (const std::string& name : response.removed_resources()) {
        state->drop(name);
        state->expiries.erase(name);
      }
    }
  }
  Ack ack{state, response.nonce(), outcome ? "" : outcome.error().message};
  if (!outcome)
    SLUICE_LOG(config, warn, "{} of version {} refused: {}", response.type_url(),
               response.system_version_info(), ack.error);
  acks_.push_back(std::move(ack));
  flush();
  return {};
}

}  // namespace sluice::xds
