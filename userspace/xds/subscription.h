#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/result.h"
#include "core/stats.h"
#include "model/config_source.h"

namespace google::protobuf {
class Message;
}
namespace sluice::model {
struct Assignment;
}

// The control plane's client. Everything in this folder runs on the control thread.
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
namespace sluice::xds {

enum class ResourceType : uint8_t {
  cluster,
  endpoints,
  listener,
  scoped_route,
  route,
  secret,
  extension_config
};
inline constexpr size_t kResourceTypes = 7;
// "type.googleapis.com/envoy.config.cluster.v3.Cluster"
std::string_view type_url(ResourceType type);

// Of tables by name in which views are looked up.
struct NameHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
};

// One resource as it came: validating, refusing and translating are its subscriber's. The views are good during
// on_update; what is to be kept is copied.
struct Resource {
  ResourceType type;
  std::string_view name;
  std::string_view version = {};  // its own (delta), or that of the response it came with
  std::string_view bytes = {};
  uint64_t hash = 0;  // of `bytes`: equal resources have equal ones, which need no message
  // Its type's message. Unpacked already, unless bytes like these were accepted last time or its subscribers read bytes
  // (reads_bytes): then here and now.
  Result<std::shared_ptr<const google::protobuf::Message>> unpack() const;
  std::shared_ptr<const google::protobuf::Message> message = nullptr;
  // Endpoints that are plain, in the place of `message`: checked and translated (config::read_plain_assignment).
  std::shared_ptr<const model::Assignment> assignment = nullptr;
  bool is_new = false;  // to the stream: its bytes are not those that were accepted last
};

// Those of a state-of-the-world response whose bytes are those that were accepted last.
class SameAgain {
 public:
  virtual size_t count() const = 0;
  virtual bool has(std::string_view name) const = 0;

 protected:
  ~SameAgain() = default;
};

// What one response says. State of the world: `resources` is everything there is of what was asked for, and `removed`
// is empty. Delta (and a TTL that ran out): only what changed.
struct Update {
  bool delta = false;
  std::vector<Resource> resources = {};
  std::vector<std::string> removed = {};
  std::string version = {};  // version_info, system_version_info
  const SameAgain* same =
      nullptr;  // there beside `resources`, for who takes that; null: none. Good during on_update.
};

// Why there is no update (yet). The subscription goes on. A stream that ends or cannot be had is counted and tried
// again, nobody is told, as in Envoy.
enum class FetchFailure : uint8_t {
  timed_out,  // initial_fetch_timeout passed without an answer
  rejected,  // a response was refused before it got to the subscriber (broken bytes, another type), or by it
};

class Subscriber {
 public:
  // An error refuses the update (NACK with its text); what was good in it may have been applied all the same, as Envoy
  // does for CDS and LDS. May end subscriptions, not the one it is called by.
  virtual Status on_update(const Update& update) = 0;
  virtual void on_failure(FetchFailure failure) = 0;
  // Of a wildcard: whether resources that come again may be in Update::same. Asked after each update that was accepted.
  virtual bool takes_same() const { return false; }
  // See Watcher.
  virtual bool only_counts() const { return false; }
  virtual void on_same(uint64_t updates) {}

 protected:
  ~Subscriber() = default;
};

// One subscriber's interest in one type. Destroying it ends the interest.
class Subscription {
 public:
  virtual ~Subscription() = default;
  // The names wanted from now on; empty: all there are (wildcard), as CDS and LDS ask.
  virtual void start(const std::unordered_set<std::string>& names) = 0;
  virtual void set_names(const std::unordered_set<std::string>& names) = 0;
};

// Makes subscriptions; those of equal sources share a stream a type, those of ADS the one stream of the bootstrap's
// ads_config.
class SubscriptionFactory {
 public:
  // `scope`: where update_attempt, update_success, update_rejected, update_failure, init_fetch_timeout, update_time,
  // version and version_text are kept ("cluster_manager.cds", "listener_manager.lds", "http.ingress.rds.local").
  // An error: the source cannot be used (a cluster that does not exist, no ads_config); the text follows the path of
  // the field the source stands in.
  virtual Result<std::unique_ptr<Subscription>> subscribe(const model::ConfigSource& source,
                                                          ResourceType type, Subscriber& subscriber,
                                                          const stats::Scope& scope) = 0;
  // Between these two, ADS requests of `type` are held back: Envoy pauses EDS while it applies CDS, RDS while LDS.
  virtual void pause(ResourceType type) = 0;
  virtual void resume(ResourceType type) = 0;

 protected:
  ~SubscriptionFactory() = default;
};

}  // namespace sluice::xds
