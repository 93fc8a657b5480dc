#pragma once

#include <string>

#include "core/result.h"
#include "extensions/transport_sockets/tls/settings.h"
#include "sluice/ext/registry.h"

namespace envoy::extensions::transport_sockets::tls::v3 {
class CommonTlsContext;
class DownstreamTlsContext;
}  // namespace envoy::extensions::transport_sockets::tls::v3

// CommonTlsContext, which both sides have. `path`: its own.
namespace sluice::extensions::transport_tls {

Status add_settings(const envoy::extensions::transport_sockets::tls::v3::CommonTlsContext& in,
                    const std::string& path, tls::CommonSettings& out);
Status add_secrets(const envoy::extensions::transport_sockets::tls::v3::CommonTlsContext& in,
                   ext::FactoryContext& context, const std::string& path, SecretSources& out);
// `path`: the DownstreamTlsContext's.
Status add_ticket_keys(const envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext& in,
                       ext::FactoryContext& context, const std::string& path, SecretSources& out);

}  // namespace sluice::extensions::transport_tls
