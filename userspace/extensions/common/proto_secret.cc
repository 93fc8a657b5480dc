#include "extensions/common/proto_secret.h"

#include <string.h>

#include <optional>

#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/common.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_util.h"

namespace sluice::extensions {

namespace v3 = envoy::extensions::transport_sockets::tls::v3;
using envoy::config::core::v3::DataSource;

namespace {

constexpr size_t kSha256 = 32;
constexpr size_t kTicketKey = 80;  // 16 name, 32 HMAC, 32 AES
constexpr uint32_t kMaxVerifyDepth = 100;  // Envoy's

Error refuse(std::string_view path, std::string_view what) {
  return Error{path.empty() ? std::string(what) : std::string(path) + ": " + std::string(what)};
}

std::string join(std::string_view path, std::string_view field) {
  return path.empty() ? std::string(field) : std::string(path) + "." + std::string(field);
}

// What a source holds; "" where there is none. A source that is named and holds nothing is a mistake: what would be trusted
// or shown is not what was meant.
Result<std::string> read(bool present, const DataSource& in, std::string_view path, std::string_view field) {
  if (!present) return std::string();
  const std::string where = join(path, field);
  auto content = read_data_source(in, where);
  if (!content.ok()) return content;
  if (content->empty())
    return refuse(where, in.has_filename() ? "file " + in.filename() + " is empty" : "is empty");
  return content;
}

std::optional<uint8_t> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

// 64 digits, or with a colon behind every two.
std::optional<std::string> from_hex(std::string_view in) {
  const bool colons = in.size() == kSha256 * 3 - 1;
  if (!colons && in.size() != kSha256 * 2) return std::nullopt;
  std::string out;
  for (size_t i = 0; i < in.size(); i += colons ? 3 : 2) {
    const auto high = hex_digit(in[i]), low = hex_digit(in[i + 1]);
    if (!high || !low) return std::nullopt;
    if (colons && i + 2 < in.size() && in[i + 2] != ':') return std::nullopt;
    out += static_cast<char>(*high << 4 | *low);
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view in) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (in.size() != 44 || in.back() != '=') return std::nullopt;
  std::string out;
  uint32_t bits = 0;
  unsigned have = 0;
  for (char c : in.substr(0, 43)) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out += static_cast<char>(bits >> have & 0xff);
  }
  if (out.size() != kSha256 || (bits & ((1u << have) - 1)) != 0) return std::nullopt;
  return out;
}

Result<tls::SanMatcher> to_typed(const v3::SubjectAltNameMatcher& in, const std::string& path) {
  using In = v3::SubjectAltNameMatcher;
  using Type = tls::SanMatcher::Type;
  tls::SanMatcher out;
  switch (in.san_type()) {
    case In::EMAIL:
      out.type = Type::email;
      break;
    case In::DNS:
      out.type = Type::dns;
      break;
    case In::URI:
      out.type = Type::uri;
      break;
    case In::IP_ADDRESS:
      out.type = Type::ip;
      break;
    case In::OTHER_NAME:
      if (in.oid().empty())
        return refuse(path + ".oid", "is necessary: Failed to create string SAN matcher of type 5");
      out.type = Type::other_name;
      out.oid = in.oid();
      break;
    default:
      return refuse(path + ".san_type", "one of EMAIL, DNS, URI, IP_ADDRESS, OTHER_NAME is needed");
  }
  SLUICE_ASSIGN(out.matcher, to_string_matcher(in.matcher(), path + ".matcher"));
  return out;
}

Status add_sans(const v3::CertificateValidationContext& in, std::string_view path, tls::Validation& out) {
  if (in.match_typed_subject_alt_names_size() > 0 && in.match_subject_alt_names_size() > 0)
    return refuse(path,
                  "SAN-based verification using both match_typed_subject_alt_names and the deprecated "
                  "match_subject_alt_names is not allowed");
  for (int i = 0; i < in.match_typed_subject_alt_names_size(); ++i) {
    const std::string where = join(path, "match_typed_subject_alt_names") + "[" + std::to_string(i) + "]";
    SLUICE_ASSIGN(auto matcher, to_typed(in.match_typed_subject_alt_names(i), where));
    out.sans.push_back(std::move(matcher));
  }
  for (int i = 0; i < in.match_subject_alt_names_size(); ++i) {
    const std::string where = join(path, "match_subject_alt_names") + "[" + std::to_string(i) + "]";
    tls::SanMatcher matcher;
    SLUICE_ASSIGN(matcher.matcher, to_string_matcher(in.match_subject_alt_names(i), where));
    out.sans.push_back(std::move(matcher));
  }
  return {};
}

Status add_hashes(const v3::CertificateValidationContext& in, std::string_view path, tls::Validation& out) {
  for (int i = 0; i < in.verify_certificate_hash_size(); ++i) {
    auto hash = from_hex(in.verify_certificate_hash(i));
    if (!hash)
      return refuse(join(path, "verify_certificate_hash") + "[" + std::to_string(i) + "]",
                    "Invalid hex-encoded SHA-256 " + in.verify_certificate_hash(i));
    out.certificate_hashes.push_back(std::move(*hash));
  }
  for (int i = 0; i < in.verify_certificate_spki_size(); ++i) {
    auto hash = from_base64(in.verify_certificate_spki(i));
    if (!hash)
      return refuse(join(path, "verify_certificate_spki") + "[" + std::to_string(i) + "]",
                    "Invalid base64-encoded SHA-256 " + in.verify_certificate_spki(i));
    out.spki_hashes.push_back(std::move(*hash));
  }
  return {};
}

// envoy.tls.cert_validator.spiffe, the one validator beside the default that there is.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto
Status add_trust_domains(const envoy::config::core::v3::TypedExtensionConfig& in, const std::string& path,
                         tls::Validation& out) {
  const std::string at = path + ".typed_config";
  v3::SPIFFECertValidatorConfig spiffe;
  if (!in.typed_config().UnpackTo(&spiffe))
    return refuse(at, in.typed_config().type_url() +
                          " is not a certificate validator that this version of Sluice has; it has "
                          "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig");
  for (int i = 0; i < spiffe.trust_domains_size(); ++i) {
    const auto& domain = spiffe.trust_domains(i);
    const std::string item = at + ".trust_domains[" + std::to_string(i) + "]";
    for (const auto& other : out.trust_domains)
      if (other.name == domain.name())
        return refuse(item + ".name",
                      "Multiple trust bundles are given for one trust domain for " + domain.name());
    if (!domain.has_trust_bundle())
      return refuse(item + ".trust_bundle", "is necessary: whose certificates are trusted in this domain?");
    SLUICE_ASSIGN(std::string bundle, read(true, domain.trust_bundle(), item, "trust_bundle"));
    out.trust_domains.push_back({.name = domain.name(), .bundle = std::move(bundle)});
  }
  return {};
}

}  // namespace

Result<tls::Certificate> to_certificate(const v3::TlsCertificate& in, std::string_view path) {
  if (in.has_pkcs12() && in.has_private_key())
    return refuse(path, "Certificate configuration can't have both pkcs12 and private_key");
  if (in.has_pkcs12() && in.has_certificate_chain())
    return refuse(path, "Certificate configuration can't have both pkcs12 and certificate_chain");
  if (in.has_ocsp_staple() && in.ocsp_staple().specifier_case() == DataSource::kInlineString)
    return refuse(join(path, "ocsp_staple"), "OCSP staple cannot be provided via inline_string");
  tls::Certificate out;
  SLUICE_ASSIGN(out.chain,
                read(in.has_certificate_chain(), in.certificate_chain(), path, "certificate_chain"));
  SLUICE_ASSIGN(out.private_key, read(in.has_private_key(), in.private_key(), path, "private_key"));
  SLUICE_ASSIGN(out.pkcs12, read(in.has_pkcs12(), in.pkcs12(), path, "pkcs12"));
  SLUICE_ASSIGN(out.password, read(in.has_password(), in.password(), path, "password"));
  SLUICE_ASSIGN(out.ocsp_staple, read(in.has_ocsp_staple(), in.ocsp_staple(), path, "ocsp_staple"));
  if (!in.has_pkcs12() && out.chain.empty())
    return refuse(join(path, "certificate_chain"),
                  "Failed to load incomplete certificate from : certificate chain not set");
  if (!in.has_pkcs12() && out.private_key.empty())
    return refuse(join(path, "private_key"), "Failed to load incomplete private key from path: ");
  return out;
}

Result<tls::Validation> to_partial_validation(const v3::CertificateValidationContext& in,
                                              std::string_view path) {
  tls::Validation out;
  SLUICE_ASSIGN(out.trusted_ca, read(in.has_trusted_ca(), in.trusted_ca(), path, "trusted_ca"));
  if (in.has_trusted_ca())
    out.ca_name = in.trusted_ca().has_filename() ? in.trusted_ca().filename() : "<inline>";
  SLUICE_ASSIGN(out.crl, read(in.has_crl(), in.crl(), path, "crl"));
  if (in.has_custom_validator_config())
    SLUICE_TRY(add_trust_domains(in.custom_validator_config(), join(path, "custom_validator_config"), out));
  SLUICE_TRY(add_hashes(in, path, out));
  SLUICE_TRY(add_sans(in, path, out));
  out.allow_expired = in.allow_expired_certificate();
  out.accept_untrusted = in.trust_chain_verification() == v3::CertificateValidationContext::ACCEPT_UNTRUSTED;
  out.only_verify_leaf_crl = in.only_verify_leaf_cert_crl();
  out.max_verify_depth = in.has_max_verify_depth() ? in.max_verify_depth().value() : kMaxVerifyDepth;
  return out;
}

Result<tls::Validation> to_validation(const v3::CertificateValidationContext& in, std::string_view path) {
  SLUICE_ASSIGN(tls::Validation out, to_partial_validation(in, path));
  if (!out.trusted_ca.empty() || !out.trust_domains.empty()) return out;
  if (!out.crl.empty())
    return refuse(join(path, "crl"),
                  "Failed to load CRL from " +
                      (in.crl().has_filename() ? in.crl().filename() : std::string("<inline>")) +
                      " without trusted CA");
  if (!out.sans.empty())
    return refuse(
        path, "SAN-based verification of peer certificates without trusted CA is insecure and not allowed");
  if (out.allow_expired)
    return refuse(join(path, "allow_expired_certificate"),
                  "Certificate validity period is always ignored without trusted CA");
  return out;
}

Result<tls::TicketKeys> to_ticket_keys(const v3::TlsSessionTicketKeys& in, std::string_view path) {
  tls::TicketKeys out;
  for (int i = 0; i < in.keys_size(); ++i) {
    const std::string field = "keys[" + std::to_string(i) + "]";
    SLUICE_ASSIGN(std::string key, read(true, in.keys(i), path, field));
    if (key.size() != kTicketKey)
      return refuse(join(path, field), "Incorrect TLS session ticket key length. Length " +
                                           std::to_string(key.size()) + ", expected length " +
                                           std::to_string(kTicketKey) + ".");
    out.keys.push_back(std::move(key));
  }
  if (out.keys.empty()) return refuse(join(path, "keys"), "at least one is needed");
  return out;
}

SecretFiles secret_files(const v3::Secret& secret) {
  SecretFiles out;
  auto add = [&](bool present, const DataSource& source) {
    if (present && source.has_filename()) out.files.push_back(source.filename());
  };
  if (secret.has_tls_certificate()) {
    const auto& c = secret.tls_certificate();
    add(c.has_certificate_chain(), c.certificate_chain());
    add(c.has_private_key(), c.private_key());
    add(c.has_pkcs12(), c.pkcs12());
    add(c.has_password(), c.password());
    add(c.has_ocsp_staple(), c.ocsp_staple());
    out.directory = c.watched_directory().path();
  } else if (secret.has_validation_context()) {
    const auto& v = secret.validation_context();
    add(v.has_trusted_ca(), v.trusted_ca());
    add(v.has_crl(), v.crl());
    out.directory = v.watched_directory().path();
  } else if (secret.has_session_ticket_keys()) {
    for (const DataSource& key : secret.session_ticket_keys().keys()) add(true, key);
  }
  return out;
}

void wipe(std::string& secret) {
  ::explicit_bzero(secret.data(), secret.size());
  secret.clear();
}

void wipe(tls::Certificate& secret) {
  wipe(secret.private_key);
  wipe(secret.pkcs12);
  wipe(secret.password);
}

void wipe(tls::TicketKeys& secret) {
  for (std::string& key : secret.keys) wipe(key);
}

}  // namespace sluice::extensions
