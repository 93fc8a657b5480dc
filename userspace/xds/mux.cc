#include "xds/mux.h"

#include <algorithm>

#include "core/log.h"
#include "core/xxhash.h"
#include "xds/resource.h"

namespace sluice::xds {

class Mux::WatchImpl {
 public:
  WatchImpl(Type& t, Watcher& w) : type(t), watcher(w) {}
  bool wildcard() const { return names.empty() || std::ranges::binary_search(names, "*"); }

  Type& type;
  Watcher& watcher;
  std::vector<std::string> names;  // sorted
  bool gone = false;
};

Mux::Mux(Transport& transport, Options options) : transport_(transport), options_(std::move(options)) {}

Mux::~Mux() = default;

std::unique_ptr<Watch> Mux::watch(ResourceType type, const std::unordered_set<std::string>& names,
                                  Watcher& watcher) {
  struct Handle final : Watch {
    Handle(Mux& m, WatchImpl& i) : mux(m), impl(i) {}
    ~Handle() override { mux.remove(impl); }
    void set_names(const std::unordered_set<std::string>& wanted) override { mux.set_names(impl, wanted); }
    Mux& mux;
    WatchImpl& impl;
  };
  Type& state = type_state(type);
  auto impl = std::make_shared<WatchImpl>(state, watcher);
  WatchImpl& ref = *impl;
  watches_.emplace(&ref, std::move(impl));
  ++state.watches;
  state.wildcards.push_back(&ref);
  set_names(ref, names);
  return std::make_unique<Handle>(*this, ref);
}

void Mux::set_names(WatchImpl& watch, const std::unordered_set<std::string>& names) {
  Type& type = watch.type;
  std::vector<std::string> wanted(names.begin(), names.end());
  std::ranges::sort(wanted);
  Interest change;
  // What is added comes first: a name that passes from one watch to another is never unwanted.
  for (const std::string& name : wanted) {
    if (std::ranges::binary_search(watch.names, name)) continue;
    auto& list = type.interest[name];
    if (list.empty()) change.added.push_back(name);
    list.push_back(&watch);
  }
  for (const std::string& name : watch.names) {
    if (names.contains(name)) continue;
    const auto at = type.interest.find(name);
    std::erase(at->second, &watch);
    if (!at->second.empty()) continue;
    type.interest.erase(at);
    type.accepted.erase(name);
    type.expiries.erase(name);
    change.removed.push_back(name);
  }
  std::erase(type.wildcards, &watch);
  watch.names = std::move(wanted);
  if (!watch.gone && watch.wildcard()) type.wildcards.push_back(&watch);
  on_interest(type, change);
}

void Mux::remove(WatchImpl& watch) {
  watch.gone = true;
  const bool named = !watch.names.empty();
  Type& type = watch.type;
  --type.watches;
  if (named)
    set_names(watch, {});
  else
    std::erase(type.wildcards, &watch);
  watches_.erase(&watch);
}

void Mux::pause(ResourceType type) {
  ++type_state(type).pauses;
}

void Mux::resume(ResourceType type) {
  Type& state = type_state(type);
  if (state.pauses > 0 && --state.pauses == 0) on_resumed(state);
}

void Mux::on_closed() {
  std::vector<std::shared_ptr<WatchImpl>> all;
  for (const auto& [key, watch] : watches_) all.push_back(watch);
  for (const auto& watch : all) {
    if (!watch->gone) watch->watcher.on_disconnected();
  }
}

Error Mux::reject(Type& type, Error why) {
  std::vector<std::shared_ptr<WatchImpl>> all;
  for (const auto& [key, watch] : watches_) {
    if (&watch->type == &type) all.push_back(watch);
  }
  for (const auto& watch : all) {
    if (!watch->gone) watch->watcher.on_rejected(why);
  }
  return why;
}

Result<Resource> Mux::read(Type& type, std::string_view name, std::string_view version,
                           std::string_view bytes) {
  Resource out{.type = type.type,
               .name = std::string(name),
               .version = std::string(version),
               .bytes = bytes,
               .hash = xxhash64(bytes)};
  if (const auto known = type.accepted.find(out.name);
      known != type.accepted.end() && known->second == out.hash)
    return out;
  SLUICE_ASSIGN(out.message, out.unpack());
  return out;
}

void Mux::note_accepted(Type& type, const Update& update) {
  if (!update.delta && !type.wildcards.empty()) type.accepted.clear();
  for (const Resource& r : update.resources) type.accepted[r.name] = r.hash;
  for (const std::string& name : update.removed) type.accepted.erase(name);
}

Status Mux::deliver(Type& type, const Update& update) {
  // In order of the resources; a watch keeps its place of the first.
  std::vector<std::pair<std::shared_ptr<WatchImpl>, Update>> parts;
  std::unordered_map<WatchImpl*, size_t> index;
  auto part_of = [&](WatchImpl* watch) -> Update& {
    const auto [at, fresh] = index.emplace(watch, parts.size());
    if (fresh) {
      parts.emplace_back(watches_.at(watch), Update{});
      parts.back().second.delta = update.delta;
      parts.back().second.version = update.version;
    }
    return parts[at->second].second;
  };
  auto named = [&](const std::string& name, auto add) {
    const auto at = type.interest.find(name);
    if (at == type.interest.end()) return;
    for (WatchImpl* watch : at->second) {
      if (!watch->wildcard()) add(part_of(watch));
    }
  };
  std::unordered_set<std::string_view> seen;
  for (const Resource& r : update.resources) {
    if (type.interest.empty() || !seen.insert(r.name).second) continue;  // given twice: the first counts
    named(r.name, [&](Update& u) { u.resources.push_back(r); });
  }
  for (const std::string& name : update.removed) named(name, [&](Update& u) { u.removed.push_back(name); });
  std::vector<std::shared_ptr<WatchImpl>> wildcards;
  for (WatchImpl* watch : type.wildcards) wildcards.push_back(watches_.at(watch));

  std::string errors;
  auto call = [&](WatchImpl& watch, const Update& what) {
    if (watch.gone) return;
    if (Status s = watch.watcher.on_update(what); !s)
      errors += (errors.empty() ? "" : "; ") + s.error().message;
  };
  for (const auto& watch : wildcards) call(*watch, update);
  for (const auto& [watch, part] : parts) call(*watch, part);
  if (!errors.empty()) return Error{std::move(errors)};
  return {};
}

void Mux::set_expiry(Type& type, const std::string& name, std::optional<Duration> ttl, MonotonicTime now) {
  if (ttl) {
    type.expiries[name] = now + *ttl;
    transport_.wake_at(now + *ttl);
  } else {
    type.expiries.erase(name);
  }
}

void Mux::on_time(MonotonicTime now) {
  for (Type* type : all_types()) {
    std::vector<std::string> expired;
    std::erase_if(type->expiries, [&](const auto& entry) {
      if (entry.second > now) return false;
      expired.push_back(entry.first);
      return true;
    });
    if (expired.empty()) continue;
    for (const std::string& name : expired) {
      SLUICE_LOG(config, info, "{} {}: its time to live is over", type_url(type->type), name);
      type->accepted.erase(name);
    }
    on_expired(*type, expired);
    const Update gone{.delta = true, .removed = std::move(expired)};
    if (Status s = deliver(*type, gone); !s) SLUICE_LOG(config, warn, "{}", s.error().message);
  }
  arm();
}

void Mux::arm() {
  std::optional<MonotonicTime> first;
  for (Type* type : all_types()) {
    for (const auto& [name, when] : type->expiries) {
      if (!first || when < *first) first = when;
    }
  }
  if (first) transport_.wake_at(*first);
}

void Mux::note_control_plane(const envoy::config::core::v3::ControlPlane& from) {
  transport_.note_identifier(from.identifier());
}

std::string nack_text(std::string text) {
  constexpr size_t kMost = 3840;
  if (text.size() > kMost) text.replace(kMost, text.size() - kMost, "...(truncated)");
  return text;
}

}  // namespace sluice::xds
