#pragma once

#include <cstdint>
#include <memory>

#include "model/dependency.h"
#include "tls/secret.h"

namespace sluice::model {

// A secret that can change while it is used, and may differ by workload. Readers are on any thread.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret
template <typename T>
class SecretSource : public Dependency {
 public:
  // Changes with what current() gives for any workload: as long as it stays, that is good.
  virtual uint64_t generation() const = 0;
  // `workload`: its network namespace's cookie; 0: the proxy itself. Null: there is none (yet), or none that is usable.
  virtual std::shared_ptr<const T> current(uint64_t workload) const = 0;
};
using CertificateSource = SecretSource<tls::Certificate>;
using ValidationSource = SecretSource<tls::Validation>;
using TicketKeySource = SecretSource<tls::TicketKeys>;

}  // namespace sluice::model
