#include "config/route_versions.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "config/plainly_valid.h"
#include "config/wire.h"
#include "core/xxhash.h"
#include "envoy/config/route/v3/route.pb.h"

namespace sluice::config {

namespace {

using envoy::config::route::v3::RouteConfiguration;

// Of one part, about: what is read, checked and translated of it stays in the processor's cache.
constexpr size_t kPartBytes = 16 << 10;
constexpr size_t kPartMemory = 128 << 10;

// A RouteConfiguration that comes in parts, each one read, checked and translated before the next.
class Reader {
 public:
  Reader(const HonouredFields& honoured, FactoryContext& context)
      : honoured_(honoured), arena_(block_.get(), kPartMemory), translation_(context, false) {}

  bool begin(std::string_view rest, size_t hosts) {
    const RouteConfiguration* const in = read(rest);
    if (in == nullptr || !translation_.begin(*in, FieldPath())) return false;
    translation_.reserve(hosts);
    return true;
  }
  // Fields of virtual hosts, one behind the other.
  bool add(std::string_view fields) {
    arena_.Reset();
    const RouteConfiguration* const in = read(fields);
    return in != nullptr && translation_.add_hosts(*in, FieldPath()).ok();
  }
  TranslatedRoutes take() && { return std::move(translation_).take(); }

 private:
  const RouteConfiguration* read(std::string_view bytes) {
    auto* const out = google::protobuf::Arena::CreateMessage<RouteConfiguration>(&arena_);
    const bool good = out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) &&
                      check(*out, honoured_, FieldPath(), bytes);
    return good ? out : nullptr;
  }

  const HonouredFields& honoured_;
  const std::unique_ptr<char[]> block_ = std::make_unique_for_overwrite<char[]>(kPartMemory);
  google::protobuf::Arena arena_;
  RouteTranslation translation_;
};

struct BytesHash {
  size_t operator()(std::string_view bytes) const { return xxhash64(bytes); }
};

}  // namespace

bool RouteVersions::Parts::take_apart(std::string_view bytes) {
  for (wire::Field field; !bytes.empty();) {
    if (!wire::take_field(bytes, field)) return false;
    if (field.number == RouteConfiguration::kVirtualHostsFieldNumber && field.kind == wire::Kind::bytes) {
      hosts.push_back(field.content);
      fields.push_back(field.whole);
    } else {
      rest += field.whole;
    }
  }
  return true;
}

bool RouteVersions::still_good(size_t host, const HasCluster& has_cluster) const {
  return !outside_[host].files && std::ranges::all_of(outside_[host].clusters, has_cluster);
}

std::vector<size_t> RouteVersions::find_again(const Parts& now, const HasCluster& has_cluster) const {
  constexpr size_t kAhead = 8;
  std::vector<size_t> out(now.hosts.size(), kNew);
  const std::vector<std::string_view>& before = now_.hosts;
  std::vector<char> found(before.size());
  auto take = [&](size_t i, size_t at) {
    found[at] = 1;
    if (still_good(at, has_cluster)) out[i] = at;
  };
  // Nearly all are in their old order.
  std::vector<size_t> left;
  for (size_t i = 0, next = 0; i < now.hosts.size(); ++i) {
    const auto from = before.begin() + static_cast<ptrdiff_t>(next);
    const auto end = before.begin() + static_cast<ptrdiff_t>(std::min(next + kAhead, before.size()));
    const auto same = std::find(from, end, now.hosts[i]);
    if (same == end) {
      left.push_back(i);
    } else {
      take(i, static_cast<size_t>(same - before.begin()));
      next = static_cast<size_t>(same - before.begin()) + 1;
    }
  }
  if (left.empty()) return out;
  std::unordered_map<std::string_view, size_t, BytesHash> elsewhere;
  for (size_t at = 0; at < before.size(); ++at)
    if (found[at] == 0) elsewhere.emplace(before[at], at);
  for (const size_t i : left) {
    const auto at = elsewhere.find(now.hosts[i]);
    if (at == elsewhere.end()) continue;
    take(i, at->second);
    elsewhere.erase(at);
  }
  return out;
}

std::optional<TranslatedRoutes> RouteVersions::make(const Parts& now, const std::vector<size_t>& from,
                                                    const HonouredFields& honoured, FactoryContext& context) {
  Reader reader(honoured, context);
  if (!reader.begin(now.rest, static_cast<size_t>(std::ranges::count(from, kNew)))) return {};
  std::string_view part;
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] != kNew) continue;
    const std::string_view field = now.fields[i];
    if (part.data() + part.size() == field.data() && part.size() + field.size() <= kPartBytes) {
      part = {part.data(), part.size() + field.size()};
      continue;
    }
    if (!part.empty() && !reader.add(part)) return {};
    part = field;
  }
  if (!part.empty() && !reader.add(part)) return {};
  return std::move(reader).take();
}

std::shared_ptr<const model::RouteConfig> RouteVersions::next(std::shared_ptr<const std::string> bytes,
                                                              const HonouredFields& honoured,
                                                              FactoryContext& context) {
  Parts now;
  if (!now.take_apart(*bytes)) return nullptr;
  // What the translation of a virtual host may look at beside it is the same.
  const bool comparable = config_ && now.rest == now_.rest;
  const auto from = comparable ? find_again(now, context.has_cluster()) : std::vector(now.hosts.size(), kNew);
  auto made = make(now, from, honoured, context);
  if (!made) return nullptr;

  const std::shared_ptr<model::RouteConfig> config = std::move(made->config);
  const auto hosts = std::exchange(config->virtual_hosts, {});
  if (comparable && !rest_from_files_) config->filter_configs = config_->filter_configs;
  std::vector<const model::VirtualHost*> gone, come;
  std::vector<char> stays(now_.hosts.size());
  config->virtual_hosts.reserve(from.size());
  for (const size_t at : from) {
    if (at == kNew) {
      config->virtual_hosts.push_back(hosts[come.size()]);
      come.push_back(config->virtual_hosts.back().get());
    } else {
      config->virtual_hosts.push_back(config_->virtual_hosts[at]);
      stays[at] = 1;
    }
  }
  for (size_t at = 0; at < stays.size(); ++at)
    if (stays[at] == 0) gone.push_back(config_->virtual_hosts[at].get());
  const bool few = comparable && 2 * (gone.size() + come.size()) <= from.size();
  if (Status s = few ? config->index(*config_, gone, come) : config->index(); !s) return nullptr;

  std::vector<FromOutside> outside;
  outside.reserve(from.size());
  for (size_t i = 0, taken = 0; i < from.size(); ++i)
    outside.push_back(std::move(from[i] == kNew ? made->hosts[taken++] : outside_[from[i]]));
  now.fields = {};
  now_ = std::move(now);
  bytes_ = std::move(bytes);
  outside_ = std::move(outside);
  rest_from_files_ = made->outside.files;
  config_ = config;
  return config_;
}

}  // namespace sluice::config
