#include "xds/delta_mux.h"

#include <algorithm>

#include "config/wire.h"
#include "core/log.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/resource.h"

namespace sluice::xds {

namespace discovery = envoy::service::discovery::v3;

// Which resources were asked for by name, which came by the wildcard, and in which version they are held. Envoy's
// NewDeltaSubscriptionState.
struct DeltaMux::State : Type {
  using Type::Type;

  enum class Because : uint8_t {
    nothing,  // it is not held
    requested,  // asked for by name
    wildcard,
    // No longer asked for by name while there is a wildcard: the server will say whether that has it.
    ambiguous,
  };
  enum class Tell : uint8_t { nothing, subscribe, unsubscribe };
  struct Held {
    Because because = Because::nothing;
    Tell tell = Tell::nothing;
    bool listed = false;  // in `changed`
    std::optional<std::string> version;  // nothing: not there (yet)
    uint64_t seen = 0;  // the response that named it last
  };
  using Entry = ByName<Held>::value_type;
  ByName<Held> held;
  std::vector<Entry*> changed;  // since the last request: to be told, or forgotten
  size_t telling = 0;  // entries with something to be told
  size_t requested = 0;
  bool wildcard = false;  // "*" is requested
  bool legacy_wildcard = true;  // never asked for a name: a first request without names means everything
  bool sent = false;  // on this stream

  Entry& entry(std::string_view name) {
    const auto at = held.find(name);
    return at != held.end() ? *at : *held.try_emplace(std::string(name)).first;
  }
  void change(const Interest& interest) {
    for (const std::string& name : interest.added) {
      if (name != "*") legacy_wildcard = false;
      Entry& e = entry(name);
      if (e.second.because == Because::requested) e.second.version.reset();
      request(e);
      tell(e, Tell::subscribe);
    }
    for (const std::string& name : interest.removed) {
      const auto at = held.find(name);
      if (at == held.end()) continue;
      Entry& e = *at;
      if (e.second.tell == Tell::subscribe) tell(e, Tell::nothing);
      if (e.second.because != Because::requested) continue;
      const bool may_stay = wildcard && name != "*" && e.second.version;
      --requested;
      set(e, may_stay ? Because::ambiguous : Because::nothing);
      tell(e, Tell::unsubscribe);
      legacy_wildcard = false;
      if (name != "*") continue;
      wildcard = false;
      for (Entry& other : held) {
        if (other.second.because > Because::requested) set(other, Because::nothing);
      }
    }
  }

  bool wants_to_send() const {
    if (!asked) return false;
    if (telling > 0) return sent || requested > 0 || legacy_wildcard;
    return !sent && (requested > 0 || (legacy_wildcard && watches > 0));
  }

  void hold(Entry& e, std::string_view version) {
    Held& h = e.second;
    if (h.because != Because::requested) {
      if (!wildcard) return;
      h.because = Because::wildcard;
    }
    if (h.version)
      h.version->assign(version);
    else
      h.version.emplace(version);
  }

  void drop(Entry& e) {
    if (e.second.because == Because::requested)
      e.second.version.reset();
    else
      set(e, Because::nothing);
  }

  void first_request(discovery::DeltaDiscoveryRequest& request_message) {
    bool legacy = legacy_wildcard;
    if (legacy)
      request(entry("*"));
    else
      legacy = telling == 0 && requested == 1 && wildcard;
    auto& versions = *request_message.mutable_initial_resource_versions();
    for (Entry& e : held) {
      if (e.second.version) versions[e.first] = *e.second.version;
      const bool subscribe = e.second.because == Because::requested && !legacy;
      tell(e, subscribe ? Tell::subscribe : Tell::nothing);
    }
  }

  // What is to be told, as fields of a request, sorted; it is told then.
  std::string take_changes() {
    constexpr uint64_t kSubscribe = 3, kUnsubscribe = 4;  // of a DeltaDiscoveryRequest
    std::ranges::sort(changed, {}, [](const Entry* e) -> const std::string& { return e->first; });
    std::string out;
    for (Entry* e : changed) {
      if (const Tell what = e->second.tell; what != Tell::nothing)
        config::wire::append_field(out, what == Tell::subscribe ? kSubscribe : kUnsubscribe, e->first);
      e->second.tell = Tell::nothing;
      e->second.listed = false;
      if (e->second.because == Because::nothing) held.erase(held.find(e->first));
    }
    changed.clear();
    telling = 0;
    return out;
  }

  // To be looked at with the next request.
  void list(Entry& e) {
    if (!std::exchange(e.second.listed, true)) changed.push_back(&e);
  }

 private:
  void request(Entry& e) {
    if (e.second.because == Because::requested) return;
    e.second.because = Because::requested;
    ++requested;
    if (e.first == "*") wildcard = true;
  }
  void set(Entry& e, Because because) {
    e.second.because = because;
    if (because != Because::nothing) return;
    e.second.version.reset();
    list(e);
  }
  void tell(Entry& e, Tell what) {
    telling += (what != Tell::nothing) - (e.second.tell != Tell::nothing);
    e.second.tell = what;
    list(e);
  }
};

// What is made of one response.
struct DeltaMux::Response : Read {
  explicit Response(Read read) : Read(std::move(read)) {}
  std::vector<State::Entry*> entries;  // of its resources, so far as they were read
  std::vector<State::Entry*> removed;
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
  auto& state = static_cast<State&>(type);
  for (const std::string& name : names) {
    if (const auto at = state.held.find(name); at != state.held.end()) state.drop(*at);
  }
}

void DeltaMux::on_open() {
  node_.begin();
  acks_.clear();
  coming_.reset();
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
  const std::string changes = state.take_changes();
  request.set_type_url(std::string(type_url(state.type)));
  if (ack != nullptr) {
    request.set_response_nonce(ack->nonce);
    if (!ack->error.empty()) {
      request.mutable_error_detail()->set_code(kInternal);
      request.mutable_error_detail()->set_message(nack_text(ack->error));
    }
  }
  transport_.send(request, {node_.next(), changes});
}

// Also the last part.
size_t DeltaMux::on_part(std::string_view begun, size_t) {
  if (!coming_) coming_ = std::make_unique<TakenDelta>();
  return coming_->take(begun);
}

Status DeltaMux::read_all(State& state, const TakenDelta& taken,
                          const discovery::DeltaDiscoveryResponse& rest, Response& into) {
  into.entries.reserve(taken.size());
  for (size_t i = 0; i < taken.size(); ++i) {
    const DeltaResource r = taken.resource(i);
    into.entries.push_back(&state.entry(r.name));
    State::Held& held = into.entries.back()->second;
    if (std::exchange(held.seen, into.number) == into.number)
      return Error{"duplicate name " + std::string(r.name) + " found among added/updated resources"};
    if (!r.has_resource && held.version == r.version) continue;  // a heartbeat
    if (!r.has_resource && r.has_aliases) continue;  // an alias that leads nowhere
    if (r.url != rest.type_url())
      return Error{"type URL " + std::string(r.url) +
                   " embedded in an individual Any does not match the message-wide type URL " +
                   rest.type_url() + " in DeltaDiscoveryResponse"};
    SLUICE_TRY(read(state, r.name, r.version, r.value, r.hash, into));
  }
  for (const std::string& name : rest.removed_resources()) {
    into.removed.push_back(&state.entry(name));
    if (std::exchange(into.removed.back()->second.seen, into.number) == into.number)
      return Error{"duplicate name " + name + " found in the union of added+removed resources"};
    into.update.removed.push_back(name);
  }
  return {};
}

Status DeltaMux::on_message(std::string_view bytes, MonotonicTime now) {
  discovery::DeltaDiscoveryResponse rest;  // without its resources, which stay where they are
  const bool whole = on_part(bytes, bytes.size()) == bytes.size();
  const std::unique_ptr<const TakenDelta> coming = std::move(coming_);
  const TakenDelta& taken = *coming;
  if (!whole || !rest.ParseFromString(taken.rest))
    return Error{"the control plane sent bytes that are no DeltaDiscoveryResponse"};
  auto* state = static_cast<State*>(asked_type(rest.type_url()));
  if (state == nullptr) return {};
  if (rest.has_control_plane()) note_control_plane(rest.control_plane());

  Response response(begin_read());
  response.at = now;
  response.update.delta = true;
  response.update.version = rest.system_version_info();
  Status outcome = read_all(*state, taken, rest, response);
  if (!outcome) {
    outcome = reject(*state, std::move(outcome).error());
  } else if (outcome = deliver(*state, response); outcome) {
    for (size_t i = 0; i < taken.size(); ++i) {
      State::Entry& e = *response.entries[i];
      if (!state->wildcard && e.second.because != State::Because::requested) continue;
      const DeltaResource r = taken.resource(i);
      set_expiry(*state, r.name, r.ttl, now);
      state->hold(e, r.version);
    }
    for (State::Entry* e : response.removed) {
      state->drop(*e);
      state->expiries.erase(e->first);
    }
  }
  for (const auto* all : {&response.entries, &response.removed}) {
    for (State::Entry* e : *all) {
      if (e->second.because == State::Because::nothing) state->list(*e);  // made for this response
    }
  }
  Ack ack{state, rest.nonce(), outcome ? "" : outcome.error().message};
  if (!outcome)
    SLUICE_LOG(config, warn, "{} of version {} refused: {}", rest.type_url(), rest.system_version_info(),
               ack.error);
  acks_.push_back(std::move(ack));
  flush();
  return {};
}

}  // namespace sluice::xds
