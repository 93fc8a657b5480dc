#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/stats.h"
#include "model/subsets.h"
#include "proxy/upstream/host.h"
#include "proxy/upstream/load_balancer.h"
#include "sluice/ext/upstream.h"

namespace sluice::upstream {

// What a request asks for, or a part of it: of `criteria` those whose key stands in `only` (null: all).
struct CriteriaView {
  const ext::MetadataMatch::Criteria* criteria = nullptr;
  const std::vector<std::string>* only = nullptr;

  bool shows(const std::string& key) const;
  bool has(const std::string& key) const;
  template <typename F>
  bool each(F f) const {  // until f says false
    for (const auto& pair : *criteria) {
      if (shows(pair.first) && !f(pair)) return false;
    }
    return true;
  }
};

// The hosts of a cluster by their metadata: one subset for each combination of values that the keys of a selector have
// among them. Made with the host set on the control thread, immutable.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets
class SubsetIndex {
 public:
  using Id = ext::MetadataMatch::Criteria;
  static constexpr size_t kNone = SIZE_MAX;
  struct Subset {
    Id id;
    HostSetPtr hosts;
    HostPtr single;  // single_host_per_subset: it alone, whatever its health
  };

  // `whole`: its priorities' hosts and nothing else of it is looked at.
  static std::shared_ptr<const SubsetIndex> make(const model::Cluster& config, const HostSet& whole,
                                                 const ProxyLocation* location);

  size_t find(const CriteriaView& view) const;  // into subsets(), or kNone
  const std::vector<Subset>& subsets() const { return subsets_; }
  const HostSetPtr& any() const { return any_; }  // all hosts; null: nothing falls back on them
  const HostSetPtr& default_subset() const { return default_; }  // likewise
  // With single_host_per_subset: hosts that share their values with an earlier one, so that nobody finds them.
  size_t duplicates() const { return duplicates_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(const CriteriaView& view) const;
    size_t operator()(const Id& id) const { return (*this)(CriteriaView{&id, nullptr}); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Id& a, const Id& b) const { return a == b; }
    bool operator()(const CriteriaView& a, const Id& b) const;
    bool operator()(const Id& a, const CriteriaView& b) const { return (*this)(b, a); }
  };

  std::unordered_map<Id, size_t, Hash, Equal> by_id_;
  std::vector<Subset> subsets_;
  HostSetPtr any_, default_;
  size_t duplicates_ = 0;
};

// Chooses hosts of a cluster with subsets on one worker.
class SubsetBalancer {
 public:
  // `cluster`: "cluster.<name>.". `config.subsets` is there.
  SubsetBalancer(const model::LoadBalancing& config, const LbEnvironment& environment,
                 const stats::Scope& cluster);

  void update(HostSetPtr hosts);
  // As LoadBalancer::choose.
  const HostPtr* choose(const ext::LbContext& context);

 private:
  using Fallback = model::SubsetConfig::Fallback;
  // Made when it is first used; its state stays while its subset has hosts.
  using BalancerPtr = std::unique_ptr<LoadBalancer>;

  const HostPtr* choose_by(CriteriaView view, const ext::LbContext& context);
  const HostPtr* choose_in(size_t subset, const ext::LbContext& context);
  const HostPtr* choose_from(const HostSetPtr& hosts, BalancerPtr& balancer, const ext::LbContext& context);
  const HostPtr* fall_back(Fallback on, const ext::LbContext& context);
  const model::SubsetConfig::Selector* selector_of(const CriteriaView& view) const;

  const model::LoadBalancing config_;
  const model::SubsetConfig& subsets_;
  const LbEnvironment environment_;
  stats::Counter selected_, fallback_, fallback_panic_;
  HostSetPtr hosts_;
  std::vector<BalancerPtr> balancers_;  // of SubsetIndex::subsets()
  BalancerPtr any_, default_;
};

}  // namespace sluice::upstream
