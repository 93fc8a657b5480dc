#include "extensions/filters/network/http_connection_manager/runtime.h"

#include <ctime>

#include "extensions/filters/network/http_connection_manager/connection.h"
#include "extensions/filters/network/http_connection_manager/stream.h"
#include "extensions/filters/network/http_connection_manager/tracing.h"

namespace sluice::extensions::http_connection_manager {
namespace {

constexpr size_t kKeepStreams = 256;  // a worker keeps so many for reuse

std::vector<ChainFilter> make_chain(const std::vector<ext::ConfiguredHttpFilter>& configured,
                                    const ext::HttpFilterScope& scope) {
  std::vector<ChainFilter> out;
  out.reserve(configured.size());
  for (const auto& f : configured) out.push_back({f.name, f.factory(scope), f.disabled});
  return out;
}

}  // namespace

std::string_view DateCache::now(io::Loop& loop) {
  if (loop.now() < good_until_) return text_;
  const auto since = loop.wall_now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  good_until_ = loop.now() + (std::chrono::seconds(1) - (since - seconds));
  const std::time_t t = seconds.count();
  std::tm tm{};
  gmtime_r(&t, &tm);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  int n = std::snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[tm.tm_wday],
                        tm.tm_mday, kMonths[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
  text_.assign(text, static_cast<size_t>(n));
  return text_;
}

Runtime::Runtime(std::shared_ptr<const Settings> s, const ext::NetworkFilterScope& scope)
    : settings(std::move(s)), stats(scope, settings->stat_prefix), buffer_limit(scope.buffer_limit) {
  const ext::HttpFilterScope http{scope.root, "http." + settings->stat_prefix + "."};
  filters = make_chain(settings->filters, http);
  if (settings->tracing && settings->tracing->tracer) make_tracer_ = settings->tracing->tracer(scope.root);
  for (const Upgrade& u : settings->upgrades) upgrades.push_back({&u, make_chain(u.filters, http)});
}

Runtime::~Runtime() = default;

std::unique_ptr<Stream> Runtime::take_stream() {
  if (free_.empty()) return std::make_unique<Stream>();
  auto stream = std::move(free_.back());
  free_.pop_back();
  return stream;
}

void Runtime::give_back(std::unique_ptr<Stream> stream) {
  stream->recycle();
  if (free_.size() < kKeepStreams) free_.push_back(std::move(stream));
}

ext::Tracer* Runtime::tracer(ext::NetworkFilterContext& context) {
  if (!tracer_ && make_tracer_)
    tracer_ = make_tracer_({context.loop(), context.random(), context.clusters()});
  return tracer_.get();
}

const std::shared_ptr<const model::RouteConfig>& Runtime::Seen::of(const model::RouteSource& source) {
  if (uint64_t now = source.generation(); now != generation) {
    generation = now;
    // A count that workers share would be a cache line they fight for with every request.
    auto held = std::make_shared<std::shared_ptr<const model::RouteConfig>>(source.current());
    routes = std::shared_ptr<const model::RouteConfig>(held, held->get());
  }
  return routes;
}

const std::shared_ptr<const model::RouteConfig>& Runtime::routes() {
  return settings->routes ? routes_.of(*settings->routes) : routes_.routes;
}

const std::shared_ptr<const model::RouteConfig>& Runtime::routes(const std::string& scope_key) {
  if (uint64_t now = settings->scopes->generation(); now != scopes_generation_) {
    scopes_generation_ = now;
    seen_scopes_.clear();
    scopes_ = settings->scopes->current();
  }
  auto seen = seen_scopes_.find(scope_key);
  if (seen == seen_scopes_.end()) {
    if (!scopes_) return routes_.routes;
    const auto scope = scopes_->by_key.find(scope_key);
    if (scope == scopes_->by_key.end()) return routes_.routes;
    seen = seen_scopes_.emplace(scope_key, SeenScope{&scope->second, {}, {}}).first;
  }
  SeenScope& it = seen->second;
  const auto& routes = it.now.of(*it.scope->routes);
  return routes || !it.scope->before ? routes : it.before.of(*it.scope->before);
}

ext::NetworkFilterFactory make_factory(std::shared_ptr<const Settings> settings) {
  return [settings](const ext::NetworkFilterScope& scope) -> ext::NetworkFilterMaker {
    auto runtime = std::make_shared<Runtime>(settings, scope);
    return [runtime] { return std::make_unique<Connection>(runtime); };
  };
}

}  // namespace sluice::extensions::http_connection_manager
