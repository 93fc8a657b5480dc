#include "config/route_versions.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "config/validate.h"
#include "config/wire.h"
#include "core/xxhash.h"
#include "envoy/config/route/v3/route.pb.h"

namespace sluice::config {

namespace {

using envoy::config::route::v3::RouteConfiguration;

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

std::string RouteVersions::Parts::only(const std::vector<size_t>& from) const {
  std::string out = rest;
  for (size_t i = 0; i < from.size(); ++i)
    if (from[i] == kNew) out += fields[i];
  return out;
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

std::shared_ptr<const model::RouteConfig> RouteVersions::next(std::shared_ptr<const std::string> bytes,
                                                              const HonouredFields& honoured,
                                                              FactoryContext& context) {
  Parts now;
  if (!now.take_apart(*bytes)) return nullptr;
  // What the translation of a virtual host may look at beside it is the same.
  const bool comparable = config_ && now.rest == now_.rest;
  const auto from = comparable ? find_again(now, context.has_cluster()) : std::vector(now.hosts.size(), kNew);
  const auto fresh = static_cast<size_t>(std::ranges::count(from, kNew));

  google::protobuf::Arena arena;
  auto* const message = google::protobuf::Arena::CreateMessage<RouteConfiguration>(&arena);
  if (!message->ParseFromString(fresh == from.size() ? *bytes : now.only(from)) ||
      !validate(*message, FieldPath()) || !honoured.check(*message, FieldPath()))
    return nullptr;
  auto made = translate_unindexed(*message, context, false, FieldPath());
  if (!made.ok() || made->hosts.size() != fresh) return nullptr;

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
