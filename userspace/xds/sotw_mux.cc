#include "xds/sotw_mux.h"

#include <algorithm>

#include "config/convert.h"
#include "core/log.h"
#include "core/wyhash.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/resource.h"

namespace sluice::xds {

namespace discovery = envoy::service::discovery::v3;

struct SotwMux::State : Type {
  explicit State(ResourceType type) : Type(type) { may_be_quiet = true; }
  std::string nonce;
  std::string error;  // of the response with `nonce`
  bool pending = false;
  discovery::DiscoveryRequest request;  // version_info is that of the last response that was accepted
  // The request's resource_names as bytes: acknowledging a push for thousands would otherwise cost more than the push.
  std::string resource_names;
  bool names_changed = false;
};

// What is made of one response, as it comes. A quiet resource's bytes are dropped at once: a push of megabytes in which
// little has changed takes little memory, and stays in the cache.
struct SotwMux::Response : Read {
  explicit Response(Read read) : Read(std::move(read)) {}
  TakenApart taken;  // without the dropped ones; views of the arena, or of the last bytes
  State* of = nullptr;  // whose resources are dropped: the first one's
  std::vector<std::shared_ptr<const discovery::Resource>> wrapped;  // hold bytes that the update looks into
  std::vector<std::pair<std::string_view, std::optional<Duration>>> ttls;
  bool heartbeats = false;
};

SotwMux::SotwMux(Transport& transport, const Options& options)
    : Mux(transport), node_(NodeField::of<discovery::DiscoveryRequest>(options)) {}

SotwMux::~SotwMux() = default;

std::unique_ptr<Mux::Type> SotwMux::make_type(ResourceType type) {
  auto state = std::make_unique<State>(type);
  state->request.set_type_url(std::string(type_url(type)));
  return state;
}

void SotwMux::on_interest(Type& type, const Interest& change) {
  auto& state = static_cast<State&>(type);
  if (!change.added.empty() || !change.removed.empty()) state.names_changed = true;
  want_request(state);
}

void SotwMux::on_resumed(Type& type) {
  if (static_cast<State&>(type).pending) transport_.flush_soon();
}

void SotwMux::on_open() {
  node_.begin();
  if (coming_ && coming_->of != nullptr) end_passing(*coming_->of, *coming_);
  coming_.reset();
  for (const auto& type : types()) {
    auto& state = static_cast<State&>(*type);
    state.nonce.clear();
    state.error.clear();
    // Nobody wants it any more: a first request without names would ask for everything.
    state.pending = false;
    if (state.watches > 0) want_request(state);
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
  for (size_t i = 0; i < types().size(); ++i) {
    auto& state = static_cast<State&>(*types()[i]);
    if (!state.pending || state.pauses > 0 || !state.asked) continue;
    if (waiting > 0 || !transport_.take_token())
      ++waiting;
    else
      send(state);
  }
  transport_.note_pending(waiting);
}

void SotwMux::send(State& state) {
  discovery::DiscoveryRequest& request = state.request;
  if (std::exchange(state.names_changed, false)) {
    std::vector<std::string_view> names;
    for (const auto& [name, known] : state.names)
      if (!known.watches.empty()) names.push_back(name);
    std::ranges::sort(names);
    discovery::DiscoveryRequest only;
    for (const std::string_view name : names) only.add_resource_names(std::string(name));
    state.resource_names = only.SerializeAsString();
  }
  request.set_response_nonce(state.nonce);
  request.clear_error_detail();
  if (!state.error.empty()) {
    request.mutable_error_detail()->set_code(kInternal);
    request.mutable_error_detail()->set_message(nack_text(std::move(state.error)));
    state.error.clear();
  }
  state.pending = false;
  transport_.send(request, {node_.next(), state.resource_names});
}

static Error wrong_url(std::string_view url, ResourceType type) {
  return {std::string(url) + " does not match the message-wide type URL " + std::string(type_url(type)) +
          " in DiscoveryResponse"};
}

Status SotwMux::read_one(State& state, std::string_view url, std::string_view value, uint64_t hash,
                         Response& into) {
  const std::string_view wanted_url = type_url(state.type);
  std::string_view name, version = into.update.version;
  std::optional<Duration> ttl;
  if (url == kWrapped) {
    auto wrapped = std::make_shared<discovery::Resource>();
    if (!wrapped->ParseFromArray(value.data(), static_cast<int>(value.size())))
      return Error{"Unable to unpack as envoy.service.discovery.v3.Resource"};
    into.wrapped.push_back(wrapped);
    name = wrapped->name();
    version = wrapped->version();
    if (wrapped->has_ttl()) ttl = config::to_duration(wrapped->ttl());
    if (!wrapped->has_resource() && version == state.request.version_info()) {
      into.heartbeats = true;
      into.ttls.emplace_back(name, ttl);
      return {};
    }
    url = wrapped->resource().type_url();
    value = wrapped->resource().value();
    hash = wyhash(value);
    // One without a name has the one in its bytes.
    if (name.empty() && url == wanted_url && state.expiries.empty() && read_same(state, hash, into))
      return {};
  }
  if (url != wanted_url) return wrong_url(url, state.type);
  if (name.empty()) {
    const auto found = name_of(value);
    if (!found)
      return Error{"Unable to unpack as " + std::string(wanted_url.substr(wanted_url.rfind('/') + 1))};
    name = *found;
  }
  if (ttl || !state.expiries.empty()) into.ttls.emplace_back(name, ttl);
  return read(state, name, version, value, hash, into);
}

// Goes on with the response that comes. How many of the bytes it is done with; what is kept of them are views.
size_t SotwMux::take(std::string_view bytes) {
  if (!coming_) coming_ = std::make_unique<Response>(begin_read());
  TakenApart& taken = coming_->taken;
  const size_t before = taken.resources.size();
  const size_t done = taken.take(bytes);
  if (coming_->of == nullptr && !taken.urls.empty()) {
    if (Type* const type = find_type(taken.urls.front())) {
      coming_->of = static_cast<State*>(type);
      begin_passing(*type, *coming_);
    }
  }
  // With times to live the names are needed.
  if (coming_->of == nullptr || !coming_->of->expiries.empty()) return done;
  // Look-ups are under way together: each would wait for the memory alone.
  for (size_t i = before; i < taken.resources.size(); ++i)
    coming_->of->quiet.prefetch(taken.resources[i].hash);
  auto to = taken.resources.begin() + static_cast<ptrdiff_t>(before);
  for (size_t i = before; i < taken.resources.size(); ++i) {
    if (taken.resources[i].url == 0 && read_same(*coming_->of, taken.resources[i].hash, *coming_)) continue;
    *to++ = taken.resources[i];
  }
  taken.resources.erase(to, taken.resources.end());
  return done;
}

size_t SotwMux::on_part(std::string_view begun, size_t) {
  const size_t before = coming_ ? coming_->taken.resources.size() : 0;
  const size_t done = take(begun);
  auto& resources = coming_->taken.resources;
  for (size_t i = before; i < resources.size(); ++i)
    resources[i].value = copy_to(arena_of(*coming_), resources[i].value);
  return done;
}

Status SotwMux::read_all(State& state, Response& into) {
  const auto& taken = into.taken;
  if (into.same > 0 && into.of != &state) return wrong_url(taken.urls.front(), state.type);
  for (const auto& item : taken.resources)
    SLUICE_TRY(read_one(state, taken.urls[item.url], item.value, item.hash, into));
  return {};
}

Status SotwMux::on_message(std::string_view bytes, MonotonicTime now) {
  const bool whole = take(bytes) == bytes.size();
  const std::unique_ptr<Response> coming = std::move(coming_);
  Response& read = *coming;
  discovery::DiscoveryResponse response;  // without its resources, which stay where they are
  if (!whole || !response.ParseFromString(read.taken.rest))
    return Error{"the control plane sent bytes that are no DiscoveryResponse"};
  if (read.of != nullptr && !end_passing(*read.of, read)) {
    // As if nothing had ever come: the next stream's first response is to have all there is.
    read.of->request.clear_version_info();
    return Error{"resources were asked for while a response that brings them was read"};
  }
  Type* type = asked_type(response.type_url());
  if (type == nullptr) return {};
  auto& state = static_cast<State&>(*type);
  if (response.has_control_plane()) note_control_plane(response.control_plane());
  state.nonce = response.nonce();
  if (state.watches == 0) {
    // The last watch went while this was on its way. Resources for nobody are not acknowledged, as in Envoy.
    if (read.taken.resources.empty() && read.same == 0)
      state.request.set_version_info(response.version_info());
    else
      want_request(state);
    return {};
  }

  read.at = now;
  read.update.version = response.version_info();
  Status outcome = read_all(state, read);
  if (!outcome) {
    outcome = reject(state, std::move(outcome).error());
  } else {
    for (const auto& [name, ttl] : read.ttls) {
      if (state.wanted(name)) set_expiry(state, name, ttl, now);
    }
    // Heartbeats say that resources are still there, not what they are: then the rest is a change, not all there is.
    Update& update = read.update;
    update.delta = read.heartbeats;
    if (!read.heartbeats || !update.resources.empty()) outcome = deliver(state, read);
    if (outcome) state.request.set_version_info(response.version_info());
  }
  state.error = outcome ? "" : outcome.error().message;
  if (!outcome)
    SLUICE_LOG(config, warn, "{} of version {} refused: {}", response.type_url(), response.version_info(),
               state.error);
  state.pending = true;
  if (state.pauses == 0 && transport_.open() && transport_.take_token())
    send(state);
  else
    transport_.flush_soon();
  return {};
}

}  // namespace sluice::xds
