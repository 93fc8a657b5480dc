#include "proxy/upstream/http_pool.h"

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/log.h"
#include "http/header_map.h"
#include "proxy/upstream/http_connection.h"
#include "proxy/upstream/http_try.h"
#include "proxy/upstream/sockets.h"
#include "proxy/upstream/tcp_try.h"

namespace sluice::upstream {

using Failure = ext::Upstream::Failure;

size_t HttpPoolKey::Hash::operator()(const HttpPoolKey& k) const {
  uint64_t h = reinterpret_cast<uintptr_t>(k.host) ^ k.netns_cookie * 0x9e3779b97f4a7c15ull;
  h ^= (uint64_t{k.mark} << 32 | static_cast<uint32_t>(k.netns_fd)) * 0xbf58476d1ce4e5b9ull;
  h ^= static_cast<uint64_t>(k.priority) << 1 | static_cast<uint64_t>(k.http2) << 2;
  if (k.source.valid()) h ^= k.source.hash() * 0x94d049bb133111ebull;
  if (k.transport) {
    h ^= reinterpret_cast<uintptr_t>(k.transport) >> 4;
    h ^= std::hash<std::string>()(k.options.server_name) * 3 ^ std::hash<std::string>()(k.sharing_key) * 5;
  }
  return h ^ h >> 29;
}

namespace {

// Whom TLS is to be spoken with (Envoy: Router::Filter::decodeHeaders): a name, never an address.
std::string_view server_name(const std::string& header, const http::HeaderMap& request) {
  std::string_view host = request.get(std::string_view(header));
  if (host.empty()) host = request.get(http::Name::authority);
  if (host.starts_with('[')) return {};
  host = host.substr(0, host.rfind(':'));
  return IpAddress::parse(host).ok() ? std::string_view() : host;
}

}  // namespace

// ---- the connections to one host ----

HttpPool::HttpPool(HttpPools& pools, HttpPoolKey key, HostPtr host)
    : pools_(pools),
      key_(std::move(key)),
      host_(std::move(host)),
      counters_(host_->counters(pools.cluster().slot())),
      breakers_(pools.cluster().breakers(key_.priority)),
      netns_fd_(key_.netns_fd) {}

HttpPool::~HttpPool() = default;

WorkerCluster& HttpPool::cluster() {
  return pools_.cluster();
}

HttpConnection* HttpPool::usable() {
  while (!ready_.empty()) {
    HttpConnection& c = ready_.front();
    if (c.can_take()) return &c;
    busy_.push_back(c);
  }
  return nullptr;
}

bool HttpPool::begin_request() {
  ClusterStats& stats = cluster().stats();
  if (!breakers_.requests.acquire()) {
    pools_.connection_stats().upstream_rq_active_overflow.add();
    stats.upstream_rq_pending_overflow.add();
    return false;
  }
  stats.upstream_rq_active.add();
  HostCounters::add(counters_.rq_active);
  return true;
}

void HttpPool::end_request() {
  breakers_.requests.release();
  cluster().stats().upstream_rq_active.sub();
  HostCounters::sub(counters_.rq_active);
}

void HttpPool::submit(HttpTry& t) {
  if (closed_) return t.fail(Failure::connect_failed, "");
  if (HttpConnection* c = usable()) {
    if (!begin_request()) return t.fail(Failure::overflow, "");
    if (c->http2() || !c->used()) return t.begin(*c);
    busy_.push_back(*c);
    return t.reserve(*c);
  }
  if (!breakers_.pending.acquire()) {
    cluster().stats().upstream_rq_pending_overflow.add();
    return t.fail(Failure::overflow, "");
  }
  cluster().stats().upstream_rq_pending_total.add();
  queue(t, false);
  connect_for_pending();
}

void HttpPool::queue(HttpTry& t, bool first) {
  cluster().stats().upstream_rq_pending_active.add();
  HostCounters::add(counters_.rq_pending_active);
  ++pending_count_;
  t.set_pending();
  first ? pending_.push_front(t) : pending_.push_back(t);
}

void HttpPool::requeue(HttpTry& t) {
  end_request();
  breakers_.pending.count();  // it was let in before: no limit applies
  queue(t, true);
  if (closed_) {
    leave_pending(t);
    return t.fail(Failure::connect_failed, "");
  }
  serve();
}

void HttpPool::leave_pending(HttpTry& t) {
  t.unlink();
  --pending_count_;
  breakers_.pending.release();
  cluster().stats().upstream_rq_pending_active.sub();
  HostCounters::sub(counters_.rq_pending_active);
}

void HttpPool::serve() {
  if (std::exchange(serving_, true)) return;
  while (!pending_.empty()) {
    HttpConnection* c = usable();
    if (!c) break;
    HttpTry& t = pending_.front();
    leave_pending(t);
    if (begin_request())
      t.begin(*c);
    else
      t.fail(Failure::overflow, "");
  }
  serving_ = false;
  connect_for_pending();
  // Those who waited have been refused: what was made for them is not needed any more.
  if (draining_ && pending_.empty())
    while (!ready_.empty()) ready_.front().drain();
}

// As many connections are made as it takes for everybody who waits, and no more.
void HttpPool::connect_for_pending() {
  if (closed_) return;
  for (;;) {
    size_t capacity = 0;
    connecting_.each([&](HttpConnection& c) { capacity += c.capacity(); });
    if (capacity >= pending_count_) return;
    if (!breakers_.connections.acquire()) {
      cluster().stats().upstream_cx_overflow.add();
      // A host without any connection gets one all the same: who waits for it would wait for ever.
      if (connections_ > 0) return;
      breakers_.connections.count();
    }
    connect();
  }
}

void HttpPool::connect() {
  auto* c = new HttpConnection(*this);  // frees itself
  ++connections_;
  connecting_.push_back(*c);
  c->connect();
}

void HttpPool::ready(HttpConnection& c) {
  if (!c.can_take()) return full(c);
  ready_.push_front(c);
  serve();
}

void HttpPool::full(HttpConnection& c) {
  busy_.push_back(c);
}

void HttpPool::connect_failed(HttpConnection& c, Failure failure, std::string_view reason) {
  SLUICE_LOG(upstream, debug, "cluster {}: connecting to {} failed: {}", cluster().name(),
             host_->address().to_string(), failure == Failure::timeout ? "connect timeout" : reason);
  c.unlink();
  add_try();  // stays while they are told
  List<HttpTry> waiting;
  waiting.take_all(pending_);
  while (!waiting.empty()) {
    HttpTry& t = waiting.front();
    leave_pending(t);
    cluster().stats().upstream_rq_pending_failure_eject.add();
    t.fail(failure, reason);
  }
  gone();
  drop_try();
}

void HttpPool::gone() {
  assert(connections_ > 0);
  --connections_;
  if (!pending_.empty()) connect_for_pending();
  maybe_retire();
}

void HttpPool::drain() {
  draining_ = true;
  drain_connections();
}

void HttpPool::drain_connections() {
  std::vector<HttpConnection*> all;
  for (auto* list : {&ready_, &busy_}) list->each([&](HttpConnection& c) { all.push_back(&c); });
  if (pending_.empty()) connecting_.each([&](HttpConnection& c) { all.push_back(&c); });
  for (HttpConnection* c : all) c->drain();
}

void HttpPool::close() {
  closed_ = true;
  add_try();
  for (auto* list : {&ready_, &busy_, &connecting_})
    while (!list->empty()) list->front().close();
  while (!pending_.empty()) {
    HttpTry& t = pending_.front();
    leave_pending(t);
    t.fail(Failure::connect_failed, "");
  }
  drop_try();
}

void HttpPool::maybe_retire() {
  if (retired_ || connections_ > 0 || tries_ > 0) return;
  retired_ = true;
  pools_.retire(*this);
}

// ---- one cluster's pools ----

HttpPools::ConnectionStats::ConnectionStats(const stats::Scope& s)
    : upstream_cx_http1_total(s.counter("upstream_cx_http1_total")),
      upstream_cx_http2_total(s.counter("upstream_cx_http2_total")),
      upstream_cx_idle_timeout(s.counter("upstream_cx_idle_timeout")),
      upstream_cx_max_duration_reached(s.counter("upstream_cx_max_duration_reached")),
      upstream_cx_max_requests(s.counter("upstream_cx_max_requests")),
      upstream_cx_protocol_error(s.counter("upstream_cx_protocol_error")),
      upstream_cx_close_notify(s.counter("upstream_cx_close_notify")),
      upstream_rq_active_overflow(s.counter("upstream_rq_active_overflow")),
      upstream_rq_per_cx(s.histogram("upstream_rq_per_cx", stats::Unit::none)) {}

HttpPools::HttpPools(WorkerCluster& cluster)
    : cluster_(cluster),
      request_stats_(cluster.scope()),
      code_stats_(cluster.scope()),
      connection_stats_(cluster.scope()),
      http1_stats_(cluster.scope()),
      http2_stats_(cluster.scope()),
      random_(reinterpret_cast<uintptr_t>(this) ^
              static_cast<uint64_t>(cluster.loop().now().time_since_epoch().count())) {}

HttpPools::~HttpPools() = default;

HttpPool* HttpPools::pool_for(const HostPtr& host, const ext::Upstream::Origin& origin,
                              const ext::HttpRequestTraits& traits) {
  using Protocol = model::HttpUpstreamOptions::Protocol;
  HttpPoolKey key{
      .host = host->identity(),
      .netns_cookie = origin.netns_cookie,
      // With a cookie the descriptor says nothing: it may be another one of the same namespace.
      .netns_fd = origin.netns_cookie != 0 ? -1 : origin.netns_fd,
      .mark = origin.mark,
      .priority = traits.priority,
      .http2 = config().protocol == Protocol::http2 || (config().protocol == Protocol::as_downstream &&
                                                        traits.downstream_protocol == http::Protocol::http2),
      .by_alpn = false,
      .transparent = origin.transparent,
      .source = origin.source,
      .transport = cluster_.transports().of(*host),
      .options = {},
      .sharing_key = {}};
  if (key.transport) {
    key.by_alpn = config().protocol == Protocol::by_alpn;
    if (!config().server_name_header.empty() && traits.request) {
      const std::string_view name = server_name(config().server_name_header, *traits.request);
      if (config().auto_sni) key.options.server_name = name;
      if (config().auto_san_validation && !name.empty()) key.options.verify_names.emplace_back(name);
    }
    key.sharing_key = key.transport->sharing_key({.workload = origin.netns_cookie,
                                                  .host = host.get(),
                                                  .options = &key.options,
                                                  .downstream = origin.stream});
  }
  if (!last_ || !(last_->key() == key)) {
    auto it = pools_.find(key);
    if (it == pools_.end()) {
      Breakers& breakers = cluster_.breakers(traits.priority);
      if (!breakers.pools.acquire()) {
        cluster_.scope().counter("upstream_cx_pool_overflow").add();
        return nullptr;
      }
      if (!self_) self_ = cluster_.shared_from_this();
      it = pools_.emplace(key, std::make_unique<HttpPool>(*this, key, host)).first;
      if (draining_) it->second->drain();
    }
    last_ = it->second.get();
  }
  last_->set_host(host);
  last_->set_netns(origin.netns_fd);
  last_->set_outside(outside_netns(host->address(), origin));
  return last_;
}

std::unique_ptr<ext::HttpTry> HttpPools::make_try(const ext::Upstream::Origin& origin,
                                                  const ext::HttpRequestTraits& traits,
                                                  http::StreamReceiver& receiver,
                                                  ext::HttpTry::Callbacks& callbacks) {
  if (traits.raw) return std::make_unique<TcpTry>(cluster_, origin, receiver, callbacks);
  HttpPool* pool = nullptr;
  if (HostPtr host = cluster_.choose_host(origin))
    pool = pool_for(host, origin, traits);
  else
    cluster_.stats().upstream_cx_none_healthy.add();
  return std::make_unique<HttpTry>(pool, receiver, callbacks, Failure::no_healthy_host);
}

HttpPools::Drop HttpPools::drops() {
  const auto& share = cluster_.drop_overload();
  if (!share || !share->hit(random_.next())) return Drop::no;
  return share->numerator >= share->denominator ? Drop::all : Drop::some;
}

ext::HttpCodeStats* HttpPools::zone_stats(std::string_view to) {
  const std::string& own = cluster_.shared().own_zone;
  if (own.empty() || to.empty()) return nullptr;
  auto found = zone_stats_.find(to);
  if (found == zone_stats_.end()) {
    const stats::Scope scope = cluster_.scope().scope("zone").scope(own).scope(to);
    found = zone_stats_.emplace(to, ext::HttpCodeStats(scope)).first;
  }
  return &found->second;
}

std::shared_ptr<ext::HttpCluster> HttpPools::hold() {
  return {cluster_.shared_from_this(), this};
}

void HttpPools::retire(HttpPool& pool) {
  if (last_ == &pool) last_ = nullptr;
  cluster_.breakers(pool.key().priority).pools.release();
  auto node = pools_.extract(pool.key());
  cluster_.loop().defer_delete(std::move(node.mapped()));
  if (!pools_.empty() || !self_) return;
  struct Holder final : io::Deferred {
    explicit Holder(std::shared_ptr<WorkerCluster> c) : cluster(std::move(c)) {}
    std::shared_ptr<WorkerCluster> cluster;
  };
  cluster_.loop().defer_delete(std::make_unique<Holder>(std::move(self_)));
}

bool HttpPools::acquire_retry(ext::RoutingPriority priority) {
  Breakers& b = cluster_.breakers(priority);
  const auto& budget = cluster_.config().circuit_breaker[static_cast<size_t>(priority)].retry_budget;
  if (!budget) return b.retries.acquire();
  const auto& shared = cluster_.shared().breakers[static_cast<size_t>(priority)];
  double share =
      budget->percent / 100 * static_cast<double>(shared.requests.value() + shared.pending.value());
  return b.retries.acquire_below(std::max<uint64_t>(static_cast<uint64_t>(share), budget->min_concurrency));
}

void HttpPools::release_retry(ext::RoutingPriority priority) {
  cluster_.breakers(priority).retries.release();
}

namespace {

// Pools may go while others are drained or closed.
template <typename Map, typename F>
void for_all(Map& pools, F f) {
  std::vector<HttpPool*> all;
  all.reserve(pools.size());
  for (auto& [key, pool] : pools) all.push_back(pool.get());
  for (HttpPool* pool : all) f(*pool);  // freed at the end of the turn at the earliest
}

}  // namespace

void HttpPools::retain(const HostSet& hosts) {
  if (pools_.empty()) return;
  std::unordered_set<const void*> kept;
  for (const HostSet::Priority& p : hosts.priorities)
    for (const HostPtr& h : p.all) kept.insert(h->identity());
  for_all(pools_, [&](HttpPool& p) {
    if (!kept.contains(p.key().host)) p.drain();
  });
}

void HttpPools::drain_hosts(const HostVector& hosts) {
  for_all(pools_, [&](HttpPool& p) {
    if (std::ranges::any_of(hosts, [&](const HostPtr& h) { return h->identity() == p.key().host; }))
      p.drain_connections();
  });
}

void HttpPools::drain() {
  draining_ = true;
  for_all(pools_, [](HttpPool& p) { p.drain(); });
}

void HttpPools::close() {
  for_all(pools_, [](HttpPool& p) { p.close(); });
}

void HttpPools::forget_origin(uint64_t netns_cookie) {
  for_all(pools_, [&](HttpPool& p) {
    if (p.key().netns_cookie == netns_cookie) p.drain();
  });
}

}  // namespace sluice::upstream
