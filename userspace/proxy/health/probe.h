#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/address.h"
#include "core/stats.h"
#include "http/options.h"
#include "io/loop.h"
#include "model/cluster.h"
#include "model/health_check.h"
#include "net/connection.h"

// One question to one host: is it well? What follows from the answers is the health checker's business
// (proxy/upstream/health_checker.h).
namespace sluice::health {

struct Answer {
  enum class Kind : uint8_t {
    well,
    degraded,  // x-envoy-degraded
    unwell,  // it says so itself
    retriable,  // unwell, by a status of retriable_statuses
    unreachable,  // no connection, or it broke
  };
  Kind kind = Kind::unreachable;
  uint16_t status = 0;  // HTTP's; 0: there was none
  bool exclude = false;  // x-envoy-immediate-health-check-fail
};

struct Target {
  Address address;  // to ask at
  std::string authority;
  Address host;  // the host's own, for %UPSTREAM_REMOTE_ADDRESS%
  std::string hostname;
  ext::UpstreamTransport* transport = nullptr;  // null: bytes go as they are
  const ext::UpstreamHost* peer = nullptr;  // whom it reaches; may be null
};

// What the probes of one cluster share. Outlives them. Control thread.
struct ProbeContext {
  ProbeContext(io::Loop& loop, std::shared_ptr<const model::Cluster> cluster, const model::HealthCheck& check,
               const stats::Scope& scope);

  io::Loop& loop;
  const std::shared_ptr<const model::Cluster> cluster;
  const model::HealthCheck& check;  // the cluster's
  http::Http1Stats http1_stats;
  http::Http2Stats http2_stats;
  stats::Counter protocol_error, verify_cluster;
  uint64_t connection_ids = 0;

  // A connection as the cluster's are, that has yet to connect. `http2`: what is spoken on it, if HTTP is.
  Result<net::ConnectionPtr> open(const Target& target, std::optional<bool> http2,
                                  net::ConnectionHandler& handler);
};

class Probe {
 public:
  class Owner {
   public:
    // Once a check() that was not given up. Also between checks, where the host ends a TCP connection that was to be used
    // again: `unreachable`, as Envoy has it. The probe may not be destroyed inside.
    virtual void on_answer(const Answer& answer) = 0;

   protected:
    ~Owner() = default;
  };

  virtual ~Probe() = default;
  // Asks. One at a time; the answer never comes from inside.
  virtual void check() = 0;
  // It took too long: no answer is wanted any more.
  virtual void give_up() = 0;
};

std::unique_ptr<Probe> make_probe(ProbeContext& context, Target target, Probe::Owner& owner);

}  // namespace sluice::health
