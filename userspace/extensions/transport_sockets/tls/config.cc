#include "extensions/transport_sockets/tls/config.h"

#include <string>

#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "extensions/common/proto_util.h"
#include "extensions/transport_sockets/tls/config_common.h"
#include "extensions/transport_sockets/tls/settings.h"
#include "tls/context.h"

namespace sluice::extensions::transport_tls {

namespace v3 = envoy::extensions::transport_sockets::tls::v3;

namespace {

tls::ServerSettings::Ocsp to_ocsp(v3::DownstreamTlsContext::OcspStaplePolicy in) {
  switch (in) {
    case v3::DownstreamTlsContext::STRICT_STAPLING:
      return tls::ServerSettings::Ocsp::strict;
    case v3::DownstreamTlsContext::MUST_STAPLE:
      return tls::ServerSettings::Ocsp::must;
    default:
      return tls::ServerSettings::Ocsp::lenient;
  }
}

Result<std::shared_ptr<const tls::Validation>> known_validation(const SecretSources& sources,
                                                                const SecretSet& known,
                                                                const std::string& path) {
  auto out = sources.effective(known.validation);
  if (Status ok = out ? check_merged(*out) : Status(); !ok.ok())
    return std::move(ok).error().prefixed(path + ".combined_validation_context");
  return out;
}

Status check_server_certificates(const v3::CommonTlsContext& in, const SecretSources& secrets,
                                 const std::string& path) {
  const bool named = in.tls_certificate_sds_secret_configs_size() > 0;
  if (in.tls_certificates_size() == 0 && !named)
    return Error{path + ": No TLS certificates found for server context"};
  if (in.tls_certificates_size() > 0 && named)
    return Error{path + ": SDS and non-SDS TLS certificates may not be mixed in server contexts"};
  if (secrets.certificates.empty())
    return Error{path + ".tls_certificates: Server TlsCertificates must have a certificate specified"};
  return {};
}

Result<ext::DownstreamTransportFactory> create_downstream(const google::protobuf::Message& message,
                                                          ext::FactoryContext& context, std::string_view at) {
  const auto& in = static_cast<const v3::DownstreamTlsContext&>(message);
  const std::string path(at), common = path + ".common_tls_context";
  auto config = std::make_shared<ServerConfig>();
  tls::ServerSettings& out = config->settings;
  SLUICE_TRY(add_settings(in.common_tls_context(), common, out));
  out.require_client_certificate = in.require_client_certificate().value();
  out.tickets = !in.disable_stateless_session_resumption();
  out.session_cache = !in.disable_stateful_session_resumption();
  if (in.has_session_timeout()) out.session_timeout = to_duration(in.session_timeout());
  out.ocsp = to_ocsp(in.ocsp_staple_policy());
  out.full_scan_on_sni_mismatch = in.full_scan_certs_on_sni_mismatch().value();
  out.prefer_client_ciphers = in.prefer_client_ciphers();
  SLUICE_TRY(add_secrets(in.common_tls_context(), context, common, config->secrets));
  SLUICE_TRY(check_server_certificates(in.common_tls_context(), config->secrets, common));
  SLUICE_TRY(add_ticket_keys(in, context, path, config->secrets));
  // What is wrong with the whole, where the whole is known.
  if (const SecretSet known = config->secrets.current(0); known.complete) {
    SLUICE_ASSIGN(const auto validation, known_validation(config->secrets, known, common));
    auto trial = tls::ServerContext::make(out, {known.certificates, validation, known.tickets});
    if (!trial.ok()) return std::move(trial).error().prefixed(common);
  }
  return make_server_factory(std::move(config));
}

Result<ext::UpstreamTransportFactory> create_upstream(const google::protobuf::Message& message,
                                                      ext::FactoryContext& context, std::string_view at) {
  const auto& in = static_cast<const v3::UpstreamTlsContext&>(message);
  const std::string path(at), common = path + ".common_tls_context";
  const v3::CommonTlsContext& c = in.common_tls_context();
  auto config = std::make_shared<ClientConfig>();
  tls::ClientSettings& out = config->settings;
  out.max_version = tls::Version::tls12;  // Envoy's, for clients, where the configuration says none
  SLUICE_TRY(add_settings(c, common, out));
  if (in.sni().find('\0') != std::string::npos)
    return Error{path + ".sni: SNI names containing NULL-byte are not allowed"};
  out.server_name = in.sni();
  out.auto_host_sni = in.auto_host_sni();
  out.auto_sni_san_validation = in.auto_sni_san_validation();
  out.allow_renegotiation = in.allow_renegotiation();
  if (in.has_max_session_keys()) out.max_session_keys = in.max_session_keys().value();
  out.enforce_rsa_key_usage = !in.has_enforce_rsa_key_usage() || in.enforce_rsa_key_usage().value();
  if (c.tls_certificates_size() + c.tls_certificate_sds_secret_configs_size() > 1)
    return Error{common + ": Multiple TLS certificates are not supported for client contexts"};
  SLUICE_TRY(add_secrets(c, context, common, config->secrets));
  if (out.auto_sni_san_validation && !config->secrets.validation.source)
    return Error{path +
                 ".auto_sni_san_validation: 'auto_sni_san_validation' was configured without a validation "
                 "context"};
  if (const SecretSet known = config->secrets.current(0); known.complete) {
    SLUICE_ASSIGN(const auto validation, known_validation(config->secrets, known, common));
    auto trial = tls::ClientContext::make(out, {known.certificates, validation});
    if (!trial.ok()) return std::move(trial).error().prefixed(common);
  }
  return make_client_factory(std::move(config));
}

constexpr std::string_view kName = "envoy.transport_sockets.tls";

// What is missing here is refused: certificate providers, custom handshakers and selectors, compliance policies (they fix
// cipher suites of TLS 1.3, which the library's settings cannot), require_sni and signed certificate timestamps (which
// Envoy takes and does nothing with).
std::vector<ext::Honoured> common_lists() {
  return {
      {.message = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
       .fields = "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context "
                 "validation_context_sds_secret_config combined_validation_context alpn_protocols key_log"},
      {.message = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext."
                  "CombinedCertificateValidationContext",
       .fields = "default_validation_context validation_context_sds_secret_config"},
      {.message = "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
       .fields = "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves "
                 "signature_algorithms"},
      {.message = "envoy.extensions.transport_sockets.tls.v3.TlsKeyLog",
       .fields = "path local_address_range remote_address_range"},
  };
}

}  // namespace

ext::Extension<ext::DownstreamTransportFactory> downstream_extension() {
  auto lists = common_lists();
  lists.push_back({.message = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                   .fields = "common_tls_context require_client_certificate session_ticket_keys "
                             "session_ticket_keys_sds_secret_config disable_stateless_session_resumption "
                             "disable_stateful_session_resumption session_timeout ocsp_staple_policy "
                             "full_scan_certs_on_sni_mismatch prefer_client_ciphers"});
  return {.name = std::string(kName),
          .type = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
          .create = &create_downstream,
          .honoured = std::move(lists)};
}

ext::Extension<ext::UpstreamTransportFactory> upstream_extension() {
  auto lists = common_lists();
  lists.push_back({.message = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                   .fields = "common_tls_context sni auto_host_sni auto_sni_san_validation "
                             "allow_renegotiation max_session_keys enforce_rsa_key_usage"});
  return {.name = std::string(kName),
          .type = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
          .create = &create_upstream,
          .honoured = std::move(lists)};
}

}  // namespace sluice::extensions::transport_tls
