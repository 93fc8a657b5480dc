#pragma once

#include <cstdint>
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

// The control plane's client. Everything in this folder runs on the control thread.
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
namespace sluice::xds {

enum class ResourceType : uint8_t { cluster, endpoints, listener, route, secret, extension_config };
// "type.googleapis.com/envoy.config.cluster.v3.Cluster"
std::string_view type_url(ResourceType type);

// One resource as it came, unpacked into its type but not yet checked: validating, refusing and translating are its
// subscriber's.
struct Resource {
  std::string name;
  std::string version;  // its own (delta), or that of the response it came with
  std::shared_ptr<const google::protobuf::Message> message;
  uint64_t hash = 0;  // of its bytes: equal resources have equal ones
};

// What one response says. State of the world: `resources` is everything there is of what was asked for, and `removed`
// is empty. Delta: only what changed.
struct Update {
  bool delta = false;
  std::vector<Resource> resources;
  std::vector<std::string> removed;
  std::string version;  // version_info, system_version_info
};

enum class FetchFailure : uint8_t {
  connection,  // no stream to the control plane, or it ended; it is tried again
  timed_out,  // initial_fetch_timeout passed without an answer; the subscription goes on
};

class Subscriber {
 public:
  // An error refuses the update (NACK with its text); what was good in it may have been applied all the same, as Envoy
  // does for CDS and LDS. May end subscriptions, not the one it is called by.
  virtual Status on_update(const Update& update) = 0;
  virtual void on_failure(FetchFailure failure) = 0;

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

// Makes subscriptions; those of equal sources share a stream, those of ADS the one stream of the bootstrap's ads_config.
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
