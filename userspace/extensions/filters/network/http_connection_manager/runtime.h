#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/time.h"
#include "extensions/filters/network/http_connection_manager/filter_manager.h"
#include "extensions/filters/network/http_connection_manager/settings.h"
#include "extensions/filters/network/http_connection_manager/stats.h"
#include "io/loop.h"
#include "sluice/ext/tracer.h"

namespace sluice::extensions::http_connection_manager {

class Stream;

// The text of a Date header (RFC 9110 section 5.6.7), made anew once a second.
class DateCache {
 public:
  std::string_view now(io::Loop& loop);

 private:
  std::string text_;
  MonotonicTime good_until_{};
};

// What the connections of one worker and filter chain share.
struct Runtime {
  Runtime(std::shared_ptr<const Settings> settings, const ext::NetworkFilterScope& scope);
  ~Runtime();

  std::unique_ptr<Stream> take_stream();
  void give_back(std::unique_ptr<Stream> stream);
  // The routes of now; null: not there yet. The reference count is this worker's alone. With scoped routes they are those
  // of `scope_key` (model::make_scope_key); null also where there is no such scope.
  const std::shared_ptr<const model::RouteConfig>& routes();
  const std::shared_ptr<const model::RouteConfig>& routes(const std::string& scope_key);
  // Of settings->tracing, which is there; null: none.
  ext::Tracer* tracer(ext::NetworkFilterContext& context);

  std::shared_ptr<const Settings> settings;
  Stats stats;
  uint32_t buffer_limit;  // what filters may keep of an HTTP/1 message
  std::vector<ChainFilter> filters;
  struct UpgradeChain {
    const Upgrade* upgrade;
    std::vector<ChainFilter> filters;  // where it has its own
  };
  std::vector<UpgradeChain> upgrades;
  DateCache date;

 private:
  ext::TracerMaker make_tracer_;
  std::shared_ptr<ext::Tracer> tracer_;  // made with the first request
  std::vector<std::unique_ptr<Stream>> free_;
  // What this worker knows of one source.
  struct Seen {
    uint64_t generation = 0;
    std::shared_ptr<const model::RouteConfig> routes;
    const std::shared_ptr<const model::RouteConfig>& of(const model::RouteSource& source);
  };
  struct SeenScope {
    const model::Scope* scope = nullptr;  // in scopes_
    Seen now, before;
  };
  Seen routes_;
  uint64_t scopes_generation_ = 0;
  std::shared_ptr<const model::ScopeTable> scopes_;
  std::unordered_map<std::string, SeenScope> seen_scopes_;  // by key; those that were asked for
};

}  // namespace sluice::extensions::http_connection_manager
