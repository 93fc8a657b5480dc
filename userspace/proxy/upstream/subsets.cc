#include "proxy/upstream/subsets.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string_view>
#include <utility>

namespace sluice::upstream {

using Criteria = ext::MetadataMatch::Criteria;
using Selector = model::SubsetConfig::Selector;

// ---- criteria ----

bool CriteriaView::shows(const std::string& key) const {
  return only == nullptr || std::ranges::binary_search(*only, key);
}

bool CriteriaView::has(const std::string& key) const {
  return shows(key) && std::ranges::any_of(*criteria, [&](const auto& pair) { return pair.first == key; });
}

size_t SubsetIndex::Hash::operator()(const CriteriaView& view) const {
  size_t hash = 0;
  view.each([&](const auto& pair) {
    for (const std::string& text : {std::cref(pair.first), std::cref(pair.second)})
      hash = (hash ^ std::hash<std::string_view>()(text)) * 0x9e3779b97f4a7c15ull;
    return true;
  });
  return hash;
}

bool SubsetIndex::Equal::operator()(const CriteriaView& a, const Id& b) const {
  size_t at = 0;
  return a.each([&](const auto& pair) { return at < b.size() && pair == b[at++]; }) && at == b.size();
}

// ---- the index ----

namespace {

// The subsets of this selector that a host is in: several, where a list stands for each of its elements.
std::vector<Criteria> ids_of(const Selector& selector, const model::LbMetadata& metadata, bool list_as_any) {
  std::vector<Criteria> out{{}};
  for (const std::string& key : selector.keys) {
    const model::LbMetadata::Field* field = metadata.find(key);
    if (field == nullptr) return {};
    if (!field->list || !list_as_any) {
      for (Criteria& id : out) id.emplace_back(key, field->value);
      continue;
    }
    std::vector<Criteria> longer;
    for (const Criteria& id : out) {
      for (const std::string& element : field->elements) {
        longer.push_back(id);
        longer.back().emplace_back(key, element);
      }
    }
    out = std::move(longer);
  }
  return out;
}

template <typename F>
void each_host(const HostSet& whole, F f) {
  for (const HostSet::Priority& p : whole.priorities) {
    for (const HostPtr& h : p.all) f(h);
  }
}

}  // namespace

std::shared_ptr<const SubsetIndex> SubsetIndex::make(const model::Cluster& config, const HostSet& whole,
                                                     const ProxyLocation* location) {
  using Fallback = model::SubsetConfig::Fallback;
  const model::SubsetConfig& subsets = *config.lb.subsets;
  auto out = std::make_shared<SubsetIndex>();
  struct Members {
    HostVector hosts;
    std::set<uint32_t> priorities;  // of single_host_per_subset, which has one for each
    bool single = false;
  };
  std::vector<Members> members;
  each_host(whole, [&](const HostPtr& host) {
    const model::LbMetadata* metadata = host->description().lb_metadata.get();
    if (metadata == nullptr) return;
    for (const Selector& selector : subsets.selectors) {
      for (Criteria& id : ids_of(selector, *metadata, subsets.list_as_any)) {
        const auto [place, is_new] = out->by_id_.try_emplace(std::move(id), members.size());
        if (is_new) {
          out->subsets_.push_back({.id = place->first, .hosts = nullptr, .single = nullptr});
          members.push_back({.hosts = {}, .priorities = {}, .single = selector.single_host});
        }
        Members& m = members[place->second];
        if (m.single && !m.priorities.insert(host->priority()).second)
          ++out->duplicates_;
        else if (m.hosts.empty() || m.hosts.back() != host)  // a value may stand in a list twice
          m.hosts.push_back(host);
      }
    }
  });
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i].single)
      out->subsets_[i].single = members[i].hosts.front();  // of the first priority
    else
      out->subsets_[i].hosts = HostSet::make_subset(config, members[i].hosts, whole, location);
  }
  HostVector all, matching;
  each_host(whole, [&](const HostPtr& host) {
    all.push_back(host);
    if (model::has_criteria(host->description().lb_metadata.get(), subsets.default_subset,
                            subsets.list_as_any))
      matching.push_back(host);
  });
  if (subsets.panic_mode_any || subsets.falls_back_on(Fallback::any))
    out->any_ = HostSet::make_subset(config, all, whole, location);
  if (subsets.falls_back_on(Fallback::default_subset))
    out->default_ = HostSet::make_subset(config, matching, whole, location);
  return out;
}

size_t SubsetIndex::find(const CriteriaView& view) const {
  const auto found = by_id_.find(view);
  return found == by_id_.end() ? kNone : found->second;
}

// ---- on a worker ----

SubsetBalancer::SubsetBalancer(const model::LoadBalancing& config, const LbEnvironment& environment,
                               const stats::Scope& cluster)
    : config_(config),
      subsets_(*config_.subsets),
      environment_(environment),
      selected_(cluster.counter("lb_subsets_selected")),
      fallback_(cluster.counter("lb_subsets_fallback")),
      fallback_panic_(cluster.counter("lb_subsets_fallback_panic")) {}

void SubsetBalancer::update(HostSetPtr hosts) {
  const HostSetPtr before = std::exchange(hosts_, std::move(hosts));
  std::vector<BalancerPtr> old = std::exchange(balancers_, {});
  balancers_.resize(hosts_->subsets->subsets().size());
  for (size_t i = 0; i < old.size(); ++i) {
    if (!old[i]) continue;
    const size_t now = hosts_->subsets->find({&before->subsets->subsets()[i].id, nullptr});
    if (now != SubsetIndex::kNone) balancers_[now] = std::move(old[i]);
  }
}

const HostPtr* SubsetBalancer::choose(const ext::LbContext& context) {
  if (!hosts_) return nullptr;
  static const Criteria none;
  const ext::MetadataMatch* match = context.metadata_match;
  if (match == nullptr) return choose_by({&none, nullptr}, context);
  if (!subsets_.fallback_list || !match->fallbacks) return choose_by({&match->criteria, nullptr}, context);
  for (const Criteria& criteria : *match->fallbacks) {
    if (const HostPtr* host = choose_by({&criteria, nullptr}, context)) return host;
  }
  return nullptr;
}

// The selector whose keys are those of `view`, no more and no less. (Envoy forgets the fallback of a selector whose keys
// begin one that stands before it.)
const Selector* SubsetBalancer::selector_of(const CriteriaView& view) const {
  for (const Selector& s : subsets_.selectors) {
    size_t at = 0;
    if (view.each([&](const auto& pair) { return at < s.keys.size() && pair.first == s.keys[at++]; }) &&
        at == s.keys.size())
      return &s;
  }
  return nullptr;
}

const HostPtr* SubsetBalancer::choose_by(CriteriaView view, const ext::LbContext& context) {
  // A selector falls back on fewer keys than it has: this ends.
  for (;;) {
    if (subsets_.allow_redundant_keys) {
      const auto found = std::ranges::find_if(subsets_.selectors, [&](const Selector& s) {
        return std::ranges::all_of(s.keys, [&](const std::string& key) { return view.has(key); });
      });
      if (found != subsets_.selectors.end()) view.only = &found->keys;
    }
    if (const size_t found = hosts_->subsets->find(view); found != SubsetIndex::kNone) {
      selected_.add();
      return choose_in(found, context);
    }
    const Selector* selector = selector_of(view);
    if (selector == nullptr || selector->fallback == Fallback::unset) break;
    if (selector->fallback != Fallback::keys) return fall_back(selector->fallback, context);
    view.only = &selector->fallback_keys;
  }
  if (subsets_.fallback == Fallback::none) return nullptr;
  if (const HostPtr* host = fall_back(subsets_.fallback, context)) {
    fallback_.add();
    return host;
  }
  if (!subsets_.panic_mode_any) return nullptr;
  const HostPtr* host = fall_back(Fallback::any, context);
  if (host != nullptr) fallback_panic_.add();
  return host;
}

const HostPtr* SubsetBalancer::choose_in(size_t subset, const ext::LbContext& context) {
  const SubsetIndex::Subset& s = hosts_->subsets->subsets()[subset];
  if (s.single) return &s.single;
  return choose_from(s.hosts, balancers_[subset], context);
}

const HostPtr* SubsetBalancer::fall_back(Fallback on, const ext::LbContext& context) {
  if (on == Fallback::any) return choose_from(hosts_->subsets->any(), any_, context);
  if (on == Fallback::default_subset)
    return choose_from(hosts_->subsets->default_subset(), default_, context);
  return nullptr;
}

const HostPtr* SubsetBalancer::choose_from(const HostSetPtr& hosts, BalancerPtr& balancer,
                                           const ext::LbContext& context) {
  if (!balancer) balancer = std::make_unique<LoadBalancer>(config_, environment_);
  if (balancer->hosts() != hosts) balancer->update(hosts);
  return balancer->choose(context);
}

}  // namespace sluice::upstream
