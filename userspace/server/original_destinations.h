#pragma once

#include "proxy/worker.h"

namespace sluice::redirect {
class Redirector;
}

namespace sluice::server {

// Original destinations from, in this order: the eBPF record of the accepted socket; the socket's own address where
// that is not what we listen on (sk_lookup, TPROXY); SO_ORIGINAL_DST (iptables REDIRECT; conntrack).
class SystemOriginalDestinations final : public proxy::OriginalDestinations {
 public:
  // `redirector` null: no eBPF. It outlives this.
  explicit SystemOriginalDestinations(const redirect::Redirector* redirector) : redirector_(redirector) {}
  std::optional<Address> find(int fd, const Address& local, const Address& listening) override;

 private:
  const redirect::Redirector* redirector_;
};

}  // namespace sluice::server
