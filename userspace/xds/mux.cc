#include "xds/mux.h"

#include <algorithm>

#include "config/plain_assignment.h"
#include "core/log.h"
#include "xds/resource.h"

namespace sluice::xds {

class Mux::WatchImpl : public std::enable_shared_from_this<WatchImpl> {
 public:
  WatchImpl(Type& t, Watcher& w) : type(t), watcher(w) {}
  bool wildcard() const { return names.empty() || std::ranges::binary_search(names, "*"); }

  Type& type;
  Watcher& watcher;
  std::vector<std::string> names;  // sorted
  uint64_t same = 0;  // of Type::same.count: so many it knows of
  bool gone = false;
};

Mux::Mux(Transport& transport) : transport_(transport) {}

Mux::~Mux() = default;

Mux::Type& Mux::type_state(ResourceType type) {
  const auto found = std::ranges::find(types_, type, [](const auto& t) { return t->type; });
  return found != types_.end() ? **found : *types_.emplace_back(make_type(type));
}

Mux::Type* Mux::find_type(std::string_view url) const {
  const auto type = type_of(url);
  const auto found = std::ranges::find_if(types_, [&](const auto& t) { return t->type == type && t->asked; });
  return found != types_.end() ? found->get() : nullptr;
}

Mux::Type* Mux::asked_type(std::string_view url) {
  Type* const found = find_type(url);
  if (found == nullptr)
    SLUICE_LOG(config, warn, "ignoring a response for {}, which nobody subscribes to", url);
  return found;
}

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
  state.asked = true;
  auto impl = std::make_shared<WatchImpl>(state, watcher);
  WatchImpl& ref = *impl;
  watches_.emplace(&ref, std::move(impl));
  ++state.watches;
  set_names(ref, names);
  return std::make_unique<Handle>(*this, ref);
}

void Mux::set_names(WatchImpl& watch, const std::unordered_set<std::string>& names) {
  Type& type = watch.type;
  std::vector<std::string> wanted(names.begin(), names.end());
  std::ranges::sort(wanted);
  Interest change;
  for (const std::string& name : watch.names) rouse(type, name, type.names.find(name)->second);
  // What is added comes first: a name that passes from one watch to another is never unwanted.
  for (const std::string& name : wanted) {
    if (std::ranges::binary_search(watch.names, name)) continue;
    Name& known = type.names[name];
    rouse(type, name, known);
    auto& list = known.watches;
    if (list.empty()) change.added.push_back(name);
    list.push_back(&watch);
  }
  for (const std::string& name : watch.names) {
    if (names.contains(name)) continue;
    auto& list = type.names.find(name)->second.watches;
    std::erase(list, &watch);
    if (!list.empty()) continue;
    forget(type, name);
    type.expiries.erase(name);
    change.removed.push_back(name);
  }
  const bool was_wildcard = std::erase(type.wildcards, &watch) > 0;
  watch.names = std::move(wanted);
  const bool is_wildcard = !watch.gone && watch.wildcard();
  if (is_wildcard) type.wildcards.push_back(&watch);
  if (was_wildcard || is_wildcard) rouse_all(type);
  if (!delivering_) sweep(type);
  on_interest(type, change);
}

void Mux::remove(WatchImpl& watch) {
  watch.gone = true;
  const bool named = !watch.names.empty();
  Type& type = watch.type;
  --type.watches;
  if (watch.wildcard()) rouse_all(type);
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
  sweep(type);
  return why;
}

namespace {

// Whether those who get messages of this type look at them and let them go: then all of a response can lie together.
bool is_transient(ResourceType type) {
  return type == ResourceType::cluster || type == ResourceType::endpoints;
}

}  // namespace

Mux::Read Mux::begin_read() {
  Read read;
  if (++reads_ == 0) ++reads_;
  read.number = reads_;
  return read;
}

google::protobuf::Arena& Mux::arena_of(Read& read) {
  if (!read.arena) read.arena = std::make_shared<google::protobuf::Arena>(arena_options());
  return *read.arena;
}

Status Mux::read(Type& type, std::string_view name, std::string_view version, std::string_view bytes,
                 uint64_t hash, Read& into) {
  auto known = type.names.find(name);
  if (!type.wanted(known == type.names.end() ? nullptr : &known->second)) return {};
  Resource out{.type = type.type, .name = name, .version = version, .bytes = bytes, .hash = hash};
  if (known == type.names.end() || known->second.accepted != out.hash) {
    out.is_new = true;
    if (type.type == ResourceType::endpoints) out.assignment = config::read_plain_assignment(bytes);
    if (!out.assignment && !reads_bytes(type.type)) {
      if (is_transient(type.type)) arena_of(into);
      SLUICE_ASSIGN(out.message, unpack(out, is_transient(type.type) ? into.arena : nullptr));
    }
    if (known == type.names.end()) {
      known = type.names.try_emplace(std::string(name)).first;
      type.idle.push_back(known->first);  // unless it is accepted
    }
  }
  into.update.resources.push_back(std::move(out));
  into.names.push_back(&known->second);
  return {};
}

void Mux::forget(Type& type, std::string_view name) {
  const auto at = type.names.find(name);
  if (at == type.names.end()) return;
  rouse(type, name, at->second);
  if (std::exchange(at->second.accepted, std::nullopt)) --type.accepted;
  type.idle.push_back(at->first);
}

void Mux::sweep(Type& type) {
  for (const std::string& name : std::exchange(type.idle, {})) {
    const auto at = type.names.find(name);
    if (at != type.names.end() && at->second.watches.empty() && !at->second.accepted) type.names.erase(at);
  }
}

void Mux::note_accepted(Type& type, const Read& read) {
  const auto& resources = read.update.resources;
  for (size_t i = 0; i < resources.size(); ++i) {
    Name& name = *read.names[i];
    if (!type.wanted(&name)) continue;  // not any more
    if (resources[i].is_new && !std::exchange(name.accepted, resources[i].hash)) ++type.accepted;
    if (type.may_be_quiet) calm(type, name, resources[i]);
  }
  for (const std::string& name : read.update.removed) forget(type, name);
  if (read.update.delta || type.wildcards.empty() || type.accepted <= resources.size() + read.same) return;
  std::unordered_set<std::string_view> sent;
  for (const Resource& r : resources) sent.insert(r.name);
  for (auto& [name, known] : type.names) {
    if (!sent.contains(name) && known.again != read.number) forget(type, name);
  }
}

void Mux::calm(Type& type, Name& name, const Resource& resource) {
  if (name.quiet || name.accepted != resource.hash || name.watches.size() + type.wildcards.size() != 1)
    return;
  WatchImpl& watch = name.watches.empty() ? *type.wildcards.front() : *name.watches.front();
  const bool may = name.watches.empty() ? watch.names.empty() && watch.watcher.takes_same()
                                        : watch.names.size() == 1 && watch.watcher.only_counts();
  // The bytes have to say whose they are: nothing else is looked at when they come again.
  if (!may || name_of(resource.bytes) != resource.name || !type.quiet.add(resource.hash, name)) return;
  name.quiet = true;
  watch.same = type.same.count;
}

void Mux::rouse(Type& type, std::string_view key, Name& name) {
  if (!name.quiet) return;
  tell_count(type, name);
  name.quiet = false;
  if (type.passing != 0 && type.quiet.find(*name.accepted)->mark == type.passing)
    type.passed.emplace_back(key);
  type.quiet.remove(*name.accepted);
}

void Mux::rouse_all(Type& type) {
  type.quiet.for_each([&](auto& slot) {
    tell_count(type, type.quiet.value(slot));
    type.quiet.value(slot).quiet = false;
  });
  type.quiet = {};
  type.passed_all = true;
}

void Mux::begin_passing(Type& type, const Read& read) {
  type.passing = read.number;
  type.passed.clear();
  type.passed_all = false;
}

bool Mux::end_passing(Type& type, Read& read) {
  type.passing = 0;
  if (type.passed_all) return read.same == 0 || type.watches == 0;
  read.same -= type.passed.size();
  return std::ranges::none_of(type.passed, [&](const std::string& name) { return type.wanted(name); });
}

void Mux::tell_count(const Type& type, const Name& name) {
  if (name.watches.empty()) return;  // a wildcard's
  WatchImpl& watch = *name.watches.front();
  const uint64_t news = type.same.count - std::exchange(watch.same, type.same.count);
  if (news > 0) watch.watcher.on_same(news, type.same.version, type.same.at);
}

void Mux::tell_counts() {
  for (const auto& type : types_)
    type->quiet.for_each([&](auto& slot) { tell_count(*type, type->quiet.value(slot)); });
}

// The quiet ones of a response, of which most have all of them.
void Mux::count_same(Type& type, const Read& read) {
  if (read.same == 0 || !type.wildcards.empty()) return;
  const uint64_t count = type.same.count + 1;
  if (read.same < type.quiet.size()) {
    type.quiet.for_each([&](auto& slot) {
      if (slot.mark == read.number) return;
      tell_count(type, type.quiet.value(slot));
      type.quiet.value(slot).watches.front()->same = count;
    });
  }
  type.same = {count, read.update.version, read.at};
}

Status Mux::deliver(Type& type, Read& read) {
  struct Same final : SameAgain {
    Same(const Type& t, const Read& r) : type(t), read(r) {}
    size_t count() const override { return read.same; }
    bool has(std::string_view name) const override {
      const Name* const known = type.find(name);
      return known != nullptr && known->again == read.number;
    }
    const Type& type;
    const Read& read;
  } const same(type, read);
  read.update.same = read.same > 0 ? &same : nullptr;
  const Update& update = read.update;
  for (size_t i = 0; i < read.names.size(); ++i) rouse(type, update.resources[i].name, *read.names[i]);
  count_same(type, read);
  delivering_ = true;
  std::string errors;
  auto call = [&](WatchImpl& watch, const Update& what) {
    if (watch.gone) return;
    if (Status s = watch.watcher.on_update(what); !s)
      errors += (errors.empty() ? "" : "; ") + s.error().message;
  };
  std::vector<std::shared_ptr<WatchImpl>> wildcards;
  for (WatchImpl* watch : type.wildcards) wildcards.push_back(watch->shared_from_this());
  for (const auto& watch : wildcards) call(*watch, update);

  // Those who want one name, which are nearly all, get it in its turn; a watch with several gets its part at the end.
  std::vector<std::pair<std::shared_ptr<WatchImpl>, Update>> parts;
  std::unordered_map<WatchImpl*, size_t> index;
  auto part_of = [&](WatchImpl& watch) -> Update& {
    const auto [at, fresh] = index.emplace(&watch, parts.size());
    if (fresh)
      parts.emplace_back(watch.shared_from_this(), Update{.delta = update.delta, .version = update.version});
    return parts[at->second].second;
  };
  Update one{.delta = update.delta, .version = update.version};
  std::vector<std::shared_ptr<WatchImpl>> now;
  const uint64_t delivery = ++deliveries_;
  auto tell = [&](Name& name, auto add) {
    if (std::exchange(name.told, delivery) == delivery) return;  // given twice: the first counts
    for (WatchImpl* watch : name.watches) {
      if (watch->wildcard()) continue;
      if (watch->names.size() > 1)
        add(part_of(*watch));
      else
        now.push_back(watch->shared_from_this());
    }
    if (now.empty()) return;
    one.resources.clear();
    one.removed.clear();
    add(one);
    for (const auto& watch : now) call(*watch, one);
    now.clear();
  };
  for (size_t i = 0; i < update.resources.size(); ++i) {
    tell(*read.names[i], [&](Update& u) { u.resources.push_back(update.resources[i]); });
    read.update.resources[i].assignment = nullptr;  // what comes of the next ones may have its memory
  }
  for (const std::string& name : update.removed) {
    if (const auto at = type.names.find(name); at != type.names.end())
      tell(at->second, [&](Update& u) { u.removed.push_back(name); });
  }
  for (const auto& [watch, part] : parts) call(*watch, part);
  if (errors.empty()) note_accepted(type, read);
  delivering_ = false;
  sweep(type);
  if (!errors.empty()) return Error{std::move(errors)};
  return {};
}

void Mux::set_expiry(Type& type, std::string_view name, std::optional<Duration> ttl, MonotonicTime now) {
  if (ttl) {
    type.expiries[std::string(name)] = now + *ttl;
    transport_.wake_at(now + *ttl);
  } else if (const auto at = type.expiries.find(name); at != type.expiries.end()) {
    type.expiries.erase(at);
  }
}

void Mux::on_time(MonotonicTime now) {
  // Whoever is told may ask for further types.
  for (size_t i = 0; i < types_.size(); ++i) {
    Type* const type = types_[i].get();
    std::vector<std::string> expired;
    std::erase_if(type->expiries, [&](const auto& entry) {
      if (entry.second > now) return false;
      expired.push_back(entry.first);
      return true;
    });
    if (expired.empty()) continue;
    for (const std::string& name : expired) {
      SLUICE_LOG(config, info, "{} {}: its time to live is over", type_url(type->type), name);
      forget(*type, name);
    }
    on_expired(*type, expired);
    Read gone;
    gone.update = {.delta = true, .removed = std::move(expired)};
    if (Status s = deliver(*type, gone); !s) SLUICE_LOG(config, warn, "{}", s.error().message);
  }
  arm();
}

void Mux::arm() {
  std::optional<MonotonicTime> first;
  for (const auto& type : types_) {
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
