#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "model/secret.h"
#include "sluice/ext/transport_socket.h"
#include "tls/secret.h"
#include "tls/settings.h"

// envoy.transport_sockets.tls, immutable, shared by all threads.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/security/ssl
namespace sluice::extensions::transport_tls {

// A secret with the name that statistics know it by: SDS's, or "unnamed_cert_<8 digits>" as Envoy calls inline ones.
template <typename T>
struct Named {
  std::string name;
  std::shared_ptr<const model::SecretSource<T>> source;  // null: there is none
  bool discovered = false;  // by SDS, and so it can change
  // SecretSource::updates() when the configuration was made: what came since is this configuration's to count.
  uint64_t updates_before = 0;
};

// What one workload's contexts are made of. Compared by identity: a secret that was not replaced is the same object.
struct SecretSet {
  std::vector<std::shared_ptr<const tls::Certificate>> certificates;  // those that are there
  std::shared_ptr<const tls::Validation> validation;
  std::shared_ptr<const tls::TicketKeys> tickets;
  bool complete = false;  // all that a context needs is there
  friend bool operator==(const SecretSet&, const SecretSet&) = default;
};

// Where the secrets of one configuration come from. Readers are on any thread.
struct SecretSources {
  std::vector<Named<tls::Certificate>> certificates;
  Named<tls::Validation> validation;
  Named<tls::TicketKeys> tickets;
  // combined_validation_context: what holds where the discovered one says nothing. Null: it stands alone.
  std::shared_ptr<const tls::Validation> validation_default;

  // Changes with what current() gives for any workload.
  uint64_t generation() const;
  SecretSet current(uint64_t workload) const;
  // `discovered` as contexts want it; null: peers are not verified.
  std::shared_ptr<const tls::Validation> effective(
      const std::shared_ptr<const tls::Validation>& discovered) const;
};

struct ServerConfig {
  tls::ServerSettings settings;
  SecretSources secrets;
};
struct ClientConfig {
  tls::ClientSettings settings;
  SecretSources secrets;
};

// Names without a CA that vouches for them would be anybody's; what was merged may come to that.
Status check_merged(const tls::Validation& validation);
// As protobuf merges messages: what `discovered` says replaces, its lists are appended.
tls::Validation merge(const tls::Validation& fallback, const tls::Validation& discovered);

ext::DownstreamTransportFactory make_server_factory(std::shared_ptr<const ServerConfig> config);
ext::UpstreamTransportFactory make_client_factory(std::shared_ptr<const ClientConfig> config);

}  // namespace sluice::extensions::transport_tls
