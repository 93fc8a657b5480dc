#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/address.h"
#include "core/time.h"
#include "model/cluster.h"
#include "server/options.h"

namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}
namespace envoy::config::core::v3 {
class Node;
}
namespace google::protobuf {
class Message;
}

// What the admin interface shows and sets in motion; the server implements it. All of it on the control
// thread.
namespace sluice::admin {

enum class State : uint8_t { live, draining, pre_initializing, initializing };  // admin.v3.ServerInfo.State

struct ListenerStatus {
  std::string name;
  std::vector<Address> addresses;  // as bound; the first is the listener's own
};

struct HostStatus {
  Address address;
  std::string hostname;
  uint64_t cx_active = 0, cx_connect_fail = 0, cx_total = 0;
  uint64_t rq_active = 0, rq_error = 0, rq_pending_active = 0, rq_success = 0, rq_timeout = 0, rq_total = 0;
  bool healthy = true, degraded = false;  // as configured
  bool failed_outlier_check = false;
  // Of active health checks.
  bool failed_active_check = false, degraded_active_check = false, active_check_timeout = false,
       pending_active_check = false, excluded_by_response = false, pending_removal = false;
  double success_rate = -1, local_origin_success_rate = -1;  // percent; -1: not known
  bool canary = false;
  uint32_t weight = 1;
  std::string region, zone, sub_zone;
  uint32_t locality_weight = 0;
  uint32_t priority = 0;
  std::string health_hostname;  // of active health checks; empty: what the check says
  uint16_t health_port = 0;  // 0: that of `address`
  std::shared_ptr<const model::LbMetadata> lb_metadata, transport_metadata;  // may be null
};

struct ClusterStatus {
  struct Thresholds {
    uint32_t max_connections = 1024, max_pending_requests = 1024, max_requests = 1024, max_retries = 3;
  };
  std::string name, observability_name;
  std::string assignment_name;  // what its endpoints are asked for by
  uint32_t overprovisioning_factor = 140;
  std::optional<model::Fraction> drop_overload = {};
  bool added_via_api = false;
  Thresholds default_priority, high_priority;
  struct SuccessRates {
    double average = -1, ejection_threshold = -1;
  };
  struct Outlier {
    SuccessRates external, local_origin;
  };
  std::optional<Outlier> outlier = {};  // nothing: no outlier detection
  std::vector<HostStatus> hosts;
};

// One resource that was discovered, in the states in which /config_dump shows it.
struct DiscoveredResource {
  struct State {
    std::string version;
    WallTime at{};
    std::shared_ptr<const google::protobuf::Message> message;  // null: there is none in this state
  };
  std::string name;
  State active, warming;
  std::vector<State> draining;
  State refused;  // the last that was refused; its `message` null: none was
  std::string why_refused;
};
// Envoy says nothing in its dump of one that was refused.
struct DiscoveredSecret {
  std::string name;
  std::string version;
  WallTime at{};
  std::shared_ptr<const google::protobuf::Message> message;  // null: it has not come yet
  std::string why_refused;  // the last one; "": it was taken
  std::string refused_version;
  WallTime refused_at{};
};
// The scopes of one SRDS source.
struct DiscoveredScopes {
  std::string name;
  std::string version;
  WallTime at{};
  std::vector<std::pair<std::string, std::shared_ptr<const google::protobuf::Message>>> scopes;
  std::string why_refused;  // the last update; "": it was not
  std::string refused_version;
  WallTime refused_at{};
};
struct Discovered {
  std::string listeners_version, clusters_version;  // of the last update that changed something
  std::vector<DiscoveredResource> listeners, clusters, routes, filters;
  std::vector<DiscoveredSecret> secrets;
  std::vector<DiscoveredScopes> scopes;
};

// What is not there yet, and what for, for people: a listener or cluster, of the bootstrap's, too; a secret, a route
// configuration, a filter; the connection to a control plane.
struct Waiting {
  std::string kind, name;
  std::vector<std::string> waits_for;
};

// For /certs: one certificate that the proxy shows, or a CA that it trusts.
struct CertificateStatus {
  bool ca = false;
  std::string path;  // of a file, or "<inline>"
  std::string serial;
  std::vector<std::string> dns_sans, uri_sans, ip_sans;
  WallTime not_before{}, not_after{};
};

struct DrainRequest {
  bool inbound_only = false;
  bool graceful = false;  // wait for the drain time before listeners close
  bool skip_exit = false;  // drain connections, keep listening
};

class View {
 public:
  virtual State state() = 0;
  virtual Duration uptime() = 0;
  virtual WallTime config_loaded_at() = 0;
  virtual std::string version() = 0;  // "0.1.0"
  virtual const server::Options& options() = 0;
  virtual unsigned concurrency() = 0;  // workers that run
  virtual std::shared_ptr<const envoy::config::bootstrap::v3::Bootstrap> bootstrap() = 0;
  virtual envoy::config::core::v3::Node node() = 0;  // as control planes are told
  virtual std::vector<ListenerStatus> listeners() = 0;
  virtual Discovered discovered() = 0;
  virtual std::vector<Waiting> waiting() = 0;
  virtual std::vector<CertificateStatus> certificates() = 0;
  virtual WallTime now() = 0;
  // The counts are the workers': the answer may come later.
  virtual void clusters(std::function<void(std::vector<ClusterStatus>)> done) = 0;

  virtual void quit() = 0;
  virtual void drain_listeners(const DrainRequest& request) = 0;
  virtual void reopen_logs() = 0;
  virtual void fail_health_checks(bool fail) = 0;  // those of the proxy itself

 protected:
  ~View() = default;
};

}  // namespace sluice::admin
