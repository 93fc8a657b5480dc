#include "extensions/transport_sockets/tls/config_common.h"

#include <optional>
#include <type_traits>
#include <utility>

#include "core/address.h"
#include "envoy/config/core/v3/address.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/common.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "extensions/common/proto_secret.h"
#include "extensions/common/proto_util.h"
#include "tls/check.h"
#include "tls/context.h"
#include "tls/inline_secrets.h"

namespace sluice::extensions::transport_tls {

namespace v3 = envoy::extensions::transport_sockets::tls::v3;

namespace {

std::string item(const std::string& path, int i) {
  return path + "[" + std::to_string(i) + "]";
}

// A secret that stands in the context itself.
template <typename T>
class Inline final : public model::SecretSource<T> {
 public:
  // `path`: where /certs says that it is, for those it shows.
  template <typename... Path>
  explicit Inline(T secret, Path... path) : secret_(std::make_shared<const T>(std::move(secret))) {
    if constexpr (std::is_constructible_v<tls::InlineSecret, std::shared_ptr<const T>, Path...>)
      shown_.emplace(secret_, std::move(path)...);
  }
  bool ready() const override { return true; }
  std::string what() const override { return "an inline secret"; }
  uint64_t generation() const override { return 1; }
  std::shared_ptr<const T> current(uint64_t) const override { return secret_; }

 private:
  const std::shared_ptr<const T> secret_;
  std::optional<tls::InlineSecret> shown_;
};

tls::Version to_version(v3::TlsParameters::TlsProtocol in, tls::Version automatic) {
  switch (in) {
    case v3::TlsParameters::TLSv1_0:
      return tls::Version::tls10;
    case v3::TlsParameters::TLSv1_1:
      return tls::Version::tls11;
    case v3::TlsParameters::TLSv1_2:
      return tls::Version::tls12;
    case v3::TlsParameters::TLSv1_3:
      return tls::Version::tls13;
    default:
      return automatic;
  }
}

Result<Cidr> to_cidr(const envoy::config::core::v3::CidrRange& in) {
  SLUICE_ASSIGN(const IpAddress address, IpAddress::parse(in.address_prefix()));
  return Cidr::make(address, in.prefix_len().value());
}

template <typename Cidrs>
Status add_cidrs(const Cidrs& in, const std::string& path, std::vector<Cidr>& out) {
  for (int i = 0; i < in.size(); ++i) {
    auto cidr = to_cidr(in[i]);
    if (!cidr.ok()) return std::move(cidr).error().prefixed(item(path, i));
    out.push_back(*cidr);
  }
  return {};
}

// What Envoy's messages and statistics call a data source.
std::string source_name(const envoy::config::core::v3::DataSource& in) {
  return in.has_filename() ? in.filename() : "<inline>";
}

bool is_empty(const v3::TlsCertificate& in) {
  return !in.has_certificate_chain() && !in.has_private_key() && !in.has_pkcs12();
}

// Envoy watches files of secrets that SDS brings, and those alone.
Status refuse_watched(bool has, const std::string& path) {
  if (!has) return {};
  return Error{path +
               ".watched_directory: only works for a secret that is discovered: name it in "
               "tls_certificate_sds_secret_configs or validation_context_sds_secret_config with a "
               "path_config_source"};
}

Status add_certificates(const v3::CommonTlsContext& in, ext::FactoryContext& context, const std::string& path,
                        SecretSources& out) {
  for (int i = 0; i < in.tls_certificates_size(); ++i) {
    const v3::TlsCertificate& c = in.tls_certificates(i);
    if (is_empty(c)) continue;  // as Envoy does
    const std::string at = item(path + ".tls_certificates", i);
    SLUICE_TRY(refuse_watched(c.has_watched_directory(), at));
    SLUICE_ASSIGN(tls::Certificate made, to_certificate(c, at));
    const auto& chain = c.has_pkcs12() ? c.pkcs12() : c.certificate_chain();
    if (auto ok = tls::check(made, source_name(chain), source_name(c.has_pkcs12() ? chain : c.private_key()));
        !ok.ok())
      return std::move(ok).error().prefixed(at);
    out.certificates.push_back(
        {.name = "unnamed_cert_" + tls::sha256_hex(c.certificate_chain().inline_bytes()).substr(0, 8),
         .source = std::make_shared<Inline<tls::Certificate>>(std::move(made), source_name(chain))});
  }
  for (int i = 0; i < in.tls_certificate_sds_secret_configs_size(); ++i) {
    const v3::SdsSecretConfig& sds = in.tls_certificate_sds_secret_configs(i);
    Named<tls::Certificate> named{.name = sds.name(), .source = {}, .discovered = sds.has_sds_config()};
    SLUICE_ASSIGN(named.source,
                  context.find_certificate(sds, item(path + ".tls_certificate_sds_secret_configs", i)));
    named.updates_before = named.source->updates();
    out.certificates.push_back(std::move(named));
  }
  return {};
}

Status find_validation(const v3::SdsSecretConfig& in, ext::FactoryContext& context, const std::string& path,
                       SecretSources& out) {
  out.validation.name = in.name();
  out.validation.discovered = in.has_sds_config();
  SLUICE_ASSIGN(out.validation.source, context.find_validation(in, path));
  out.validation.updates_before = out.validation.source->updates();
  return {};
}

Status add_validation(const v3::CommonTlsContext& in, ext::FactoryContext& context, const std::string& path,
                      SecretSources& out) {
  if (in.has_validation_context()) {
    const v3::CertificateValidationContext& v = in.validation_context();
    const std::string at = path + ".validation_context";
    SLUICE_TRY(refuse_watched(v.has_watched_directory(), at));
    SLUICE_ASSIGN(tls::Validation made, to_validation(v, at));
    if (auto ok = tls::check(made); !ok.ok()) return std::move(ok).error().prefixed(at);
    out.validation.name = "unnamed_ca_cert";
    if (v.has_trusted_ca())
      out.validation.name += "_" + tls::sha256_hex(v.trusted_ca().inline_bytes()).substr(0, 8);
    out.validation.source = std::make_shared<Inline<tls::Validation>>(std::move(made));
  } else if (in.has_validation_context_sds_secret_config()) {
    SLUICE_TRY(find_validation(in.validation_context_sds_secret_config(), context,
                               path + ".validation_context_sds_secret_config", out));
  } else if (in.has_combined_validation_context()) {
    const auto& combined = in.combined_validation_context();
    const std::string at = path + ".combined_validation_context";
    SLUICE_TRY(refuse_watched(combined.default_validation_context().has_watched_directory(),
                              at + ".default_validation_context"));
    SLUICE_ASSIGN(tls::Validation made, to_partial_validation(combined.default_validation_context(),
                                                              at + ".default_validation_context"));
    out.validation_default = std::make_shared<const tls::Validation>(std::move(made));
    SLUICE_TRY(find_validation(combined.validation_context_sds_secret_config(), context,
                               at + ".validation_context_sds_secret_config", out));
  }
  return {};
}

// A client's context needs no certificate: it says whether the library takes these settings.
Status try_out(const tls::CommonSettings& settings, const std::string& path) {
  tls::ClientSettings trial;
  static_cast<tls::CommonSettings&>(trial) = settings;
  auto made = tls::ClientContext::make(trial, {});
  if (!made.ok()) return std::move(made).error().prefixed(path);
  return {};
}

}  // namespace

Status add_settings(const v3::CommonTlsContext& in, const std::string& path, tls::CommonSettings& out) {
  const v3::TlsParameters& p = in.tls_params();
  out.min_version = to_version(p.tls_minimum_protocol_version(), out.min_version);
  out.max_version = to_version(p.tls_maximum_protocol_version(), out.max_version);
  if (out.min_version > out.max_version)
    return Error{
        path + ".tls_params.tls_minimum_protocol_version: is above the maximum: no connection could be made"};
  out.cipher_suites.assign(p.cipher_suites().begin(), p.cipher_suites().end());
  out.curves.assign(p.ecdh_curves().begin(), p.ecdh_curves().end());
  out.signature_algorithms.assign(p.signature_algorithms().begin(), p.signature_algorithms().end());
  if (!out.cipher_suites.empty() || !out.curves.empty() || !out.signature_algorithms.empty())
    SLUICE_TRY(try_out(out, path + ".tls_params"));
  out.alpn.assign(in.alpn_protocols().begin(), in.alpn_protocols().end());
  for (int i = 0; i < in.alpn_protocols_size(); ++i)
    if (in.alpn_protocols(i).empty() || in.alpn_protocols(i).size() > 255)
      return Error{item(path + ".alpn_protocols", i) + ": Invalid ALPN protocol string: 1 to 255 bytes"};
  if (in.has_key_log()) {
    out.key_log.path = in.key_log().path();
    const std::string at = path + ".key_log";
    SLUICE_TRY(add_cidrs(in.key_log().local_address_range(), at + ".local_address_range", out.key_log.local));
    SLUICE_TRY(
        add_cidrs(in.key_log().remote_address_range(), at + ".remote_address_range", out.key_log.remote));
    SLUICE_TRY(try_out(out, at));
  }
  return {};
}

Status add_secrets(const v3::CommonTlsContext& in, ext::FactoryContext& context, const std::string& path,
                   SecretSources& out) {
  SLUICE_TRY(add_certificates(in, context, path, out));
  return add_validation(in, context, path, out);
}

Status add_ticket_keys(const v3::DownstreamTlsContext& in, ext::FactoryContext& context,
                       const std::string& path, SecretSources& out) {
  if (in.has_session_ticket_keys()) {
    SLUICE_ASSIGN(tls::TicketKeys made,
                  to_ticket_keys(in.session_ticket_keys(), path + ".session_ticket_keys"));
    out.tickets.source = std::make_shared<Inline<tls::TicketKeys>>(std::move(made));
  } else if (in.has_session_ticket_keys_sds_secret_config()) {
    const auto& sds = in.session_ticket_keys_sds_secret_config();
    out.tickets.name = sds.name();
    out.tickets.discovered = sds.has_sds_config();
    SLUICE_ASSIGN(out.tickets.source,
                  context.find_ticket_keys(sds, path + ".session_ticket_keys_sds_secret_config"));
    out.tickets.updates_before = out.tickets.source->updates();
  }
  return {};
}

}  // namespace sluice::extensions::transport_tls
