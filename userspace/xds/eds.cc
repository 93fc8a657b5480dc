#include "xds/eds.h"

#include <algorithm>
#include <vector>

#include "config/plain_assignment.h"
#include "core/log.h"

namespace sluice::xds {

// Attached to a watch while a version of the cluster exists.
class Eds::FeedImpl final : public Feed {
 public:
  FeedImpl(Eds& e, Watch& w, Sink& s);
  ~FeedImpl() override;
  void start() override;

  Eds& eds;
  Watch& watch;
  Sink& sink;
  bool started = false;
};

class Eds::Watch final : public Subscriber {
 public:
  Watch(Eds& eds, const model::Cluster& cluster)
      : source(*cluster.eds_source),
        name(cluster.eds_service_name),
        eds_(eds),
        cluster_(cluster.name),
        scope_(eds.store_.root(0).scope("cluster").scope(
            cluster.alt_stat_name.empty() ? cluster.name : cluster.alt_stat_name)),
        lease_(scope_.lease()),
        stale_timer_(eds.loop_.timers(), &stale, this) {
    using stats::Kind;
    static const stats::Layout layout({{"update_empty", Kind::counter},
                                       {"update_no_rebuild", Kind::counter},
                                       {"assignment_stale", Kind::counter},
                                       {"assignment_timeout_received", Kind::counter},
                                       {"assignment_use_cached", Kind::counter}});
    const stats::Block block = scope_.block(layout);
    update_empty_ = block.counter("update_empty");
    update_no_rebuild_ = block.counter("update_no_rebuild");
    assignment_stale_ = block.counter("assignment_stale");
    assignment_timeout_received_ = block.counter("assignment_timeout_received");
  }

  // It counts what it was not told of, here.
  ~Watch() { subscription_.reset(); }

  Status subscribe() {
    SLUICE_ASSIGN(subscription_, eds_.factory_.subscribe(source, ResourceType::endpoints, *this, scope_));
    return {};
  }

  void attach(FeedImpl& feed) { feeds_.push_back(&feed); }
  void detach(FeedImpl& feed) {
    std::erase(feeds_, &feed);
    if (feeds_.empty()) eds_.release(*this);
  }

  void begin(FeedImpl& feed) {
    if (!std::exchange(begun_, true)) {
      subscription_->start({name});
      return;
    }
    // A later version of the cluster: what is known is good for it too.
    if (auto known = assignment()) feed.sink.on_assignment(known);
    if (answered_) feed.sink.on_answered();
  }

  Status on_update(const Update& update) override {
    if (update.resources.empty()) {
      SLUICE_LOG(upstream, debug, "cluster {}: no ClusterLoadAssignment {} in the answer", cluster_, name);
      update_empty_.add();
      answered();
      return {};
    }
    const Resource& resource = update.resources.front();
    if (known_ && resource.hash == hash_) {
      if (stale_after_ != Duration(0)) arm();
      update_no_rebuild_.add();
      if (!answered_) answered();
      return {};
    }
    SLUICE_ASSIGN(const auto assignment, made_of(resource));
    known_ = true;
    is_stale_ = false;
    bytes_ = resource.bytes;
    hash_ = resource.hash;
    stale_after_ = assignment->stale_after;
    overprovisioning_factor_ = assignment->overprovisioning_factor;
    arm();
    tell([&](Sink& sink) { sink.on_assignment(assignment); });
    answered();
    return {};
  }

  void on_failure(FetchFailure) override { answered(); }
  bool only_counts() const override { return known_ && answered_ && stale_after_ == Duration(0); }
  void on_same(uint64_t updates) override { update_no_rebuild_.add(updates); }

  const model::ConfigSource source;
  const std::string name;
  const std::string& cluster() const { return cluster_; }
  size_t replaced = 0;  // so many zeros are behind the cluster's name as its key

 private:
  using AssignmentPtr = std::shared_ptr<const model::Assignment>;
  Result<AssignmentPtr> made_of(const Resource& resource) const {
    if (resource.assignment) return resource.assignment;
    if (!resource.message)
      if (AssignmentPtr plain = config::read_plain_assignment(resource.bytes)) return plain;
    SLUICE_ASSIGN(auto message, resource.unpack());
    auto made = eds_.resources_.assignment(*message);
    if (!made.ok()) return std::move(made).error().prefixed(name);
    return made;
  }
  // Made anew: its bytes take a tenth of its memory, and few clusters get another version.
  AssignmentPtr assignment() const {
    if (!known_) return nullptr;
    if (is_stale_) return nobody();
    auto made = made_of({.type = ResourceType::endpoints, .name = name, .bytes = bytes_});
    return made.ok() ? *made : nullptr;  // it was made of the same bytes before
  }
  AssignmentPtr nobody() const {
    auto out = std::make_shared<model::Assignment>();
    out->overprovisioning_factor = overprovisioning_factor_;
    return out;
  }

  template <typename F>
  void tell(F f) {
    if (feeds_.size() == 1) {
      if (feeds_.front()->started) f(feeds_.front()->sink);
      return;
    }
    // A version that becomes active ends the one before it, in here.
    const std::vector<FeedImpl*> all = feeds_;
    for (FeedImpl* feed : all) {
      if (std::ranges::find(feeds_, feed) != feeds_.end() && feed->started) f(feed->sink);
    }
  }
  void answered() {
    answered_ = true;
    tell([](Sink& sink) { sink.on_answered(); });
  }
  void arm() {
    stale_timer_.cancel();
    if (stale_after_ == Duration(0)) return;
    assignment_timeout_received_.add();
    stale_timer_.arm(eds_.loop_.now() + stale_after_);
  }
  static void stale(io::Timer& timer) {
    Watch& self = *timer.owner<Watch>();
    SLUICE_LOG(upstream, info, "cluster {}: its endpoints are stale (endpoint_stale_after) and go",
               self.cluster_);
    self.assignment_stale_.add();
    self.is_stale_ = true;
    self.hash_ = 0;
    self.bytes_.clear();
    self.tell([nobody = self.nobody()](Sink& sink) { sink.on_assignment(nobody); });
  }

  Eds& eds_;
  const std::string cluster_;
  const stats::Scope scope_;
  const stats::Lease lease_;
  stats::Counter update_empty_, update_no_rebuild_, assignment_stale_, assignment_timeout_received_;
  io::Timer stale_timer_;
  std::unique_ptr<Subscription> subscription_;
  std::vector<FeedImpl*> feeds_;
  // The last assignment.
  std::string bytes_;
  uint64_t hash_ = 0;
  Duration stale_after_{0};
  uint32_t overprovisioning_factor_ = 0;
  bool known_ = false, is_stale_ = false;
  bool begun_ = false, answered_ = false;
};

Eds::FeedImpl::FeedImpl(Eds& e, Watch& w, Sink& s) : eds(e), watch(w), sink(s) {
  watch.attach(*this);
}

Eds::FeedImpl::~FeedImpl() {
  watch.detach(*this);
}

void Eds::FeedImpl::start() {
  started = true;
  watch.begin(*this);
}

Eds::Eds(io::Loop& loop, SubscriptionFactory& factory, const config::Resources& resources,
         stats::Store& store)
    : loop_(loop), factory_(factory), resources_(resources), store_(store) {}

Eds::~Eds() = default;

Result<std::unique_ptr<upstream::EndpointDiscovery::Feed>> Eds::discover(
    const std::shared_ptr<const model::Cluster>& cluster, Sink& sink) {
  auto at = watches_.find(cluster->name);
  if (at != watches_.end() &&
      (at->second->source != *cluster->eds_source || at->second->name != cluster->eds_service_name)) {
    // Another source: the old version keeps its watch until it goes, under a name that nobody looks up.
    auto old = watches_.extract(at);
    do {
      ++old.mapped()->replaced;
      old.key() += '\0';
    } while (watches_.contains(old.key()));
    watches_.insert(std::move(old));
    at = watches_.end();
  }
  if (at == watches_.end()) {
    auto watch = std::make_unique<Watch>(*this, *cluster);
    SLUICE_TRY(watch->subscribe());
    at = watches_.emplace(cluster->name, std::move(watch)).first;
  }
  return std::unique_ptr<Feed>(std::make_unique<FeedImpl>(*this, *at->second, sink));
}

void Eds::release(Watch& watch) {
  watches_.erase(watches_.find(watch.cluster() + std::string(watch.replaced, '\0')));
}

}  // namespace sluice::xds
