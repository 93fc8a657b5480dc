#include "config/translate_secret.h"

#include "config/convert.h"
#include "core/xxhash.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/common.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "extensions/common/proto_secret.h"
#include "tls/check.h"

namespace sluice::config {

namespace v3 = envoy::extensions::transport_sockets::tls::v3;

namespace {

class Hash {
 public:
  // With its length, so that no two lists of parts read the same.
  Hash& add(std::string_view part) {
    const uint64_t length = part.size();
    all_.append(reinterpret_cast<const char*>(&length), sizeof length).append(part);
    return *this;
  }
  uint64_t take() {
    const uint64_t hash = xxhash64(all_);
    extensions::wipe(all_);
    return hash;
  }

 private:
  std::string all_;
};

std::string name_of(const envoy::config::core::v3::DataSource& source) {
  return source.has_filename() ? source.filename() : "<inline>";
}

template <typename T>
std::shared_ptr<const T> seal(T secret) {
  return std::shared_ptr<const T>(new T(std::move(secret)), [](T* gone) {
    if constexpr (!std::is_same_v<T, tls::Validation>) extensions::wipe(*gone);
    delete gone;
  });
}

// What never changes, or (null) never comes.
template <typename T>
std::shared_ptr<const model::SecretSource<T>> fixed(std::shared_ptr<const T> value) {
  struct Fixed final : model::SecretSource<T> {
    explicit Fixed(std::shared_ptr<const T> v) : value(std::move(v)) {}
    bool ready() const override { return value != nullptr; }
    std::string what() const override { return "a secret of the bootstrap"; }
    uint64_t generation() const override { return 1; }
    std::shared_ptr<const T> current(uint64_t) const override { return value; }
    const std::shared_ptr<const T> value;
  };
  return std::make_shared<Fixed>(std::move(value));
}

template <typename T>
Result<std::shared_ptr<const model::SecretSource<T>>> find_static(const StaticSecrets& secrets,
                                                                  const std::string& name,
                                                                  const model::ConfigSource* source) {
  if (source) return fixed<T>(nullptr);
  auto value = secrets.find<T>(name);
  if (!value) return unknown_static_secret<T>(name);
  return fixed<T>(std::move(value));
}

}  // namespace

Secret make_secret(tls::Certificate c) {
  Secret out;
  out.hash = Hash().add(c.chain).add(c.private_key).add(c.pkcs12).add(c.password).add(c.ocsp_staple).take();
  out.certificate = seal(std::move(c));
  return out;
}

Secret make_secret(tls::Validation v) {
  Secret out;
  out.hash = Hash().add(v.trusted_ca).add(v.crl).take();
  out.validation = seal(std::move(v));
  return out;
}

Result<Secret> translate(const v3::Secret& in, const FieldPath& path) {
  switch (in.type_case()) {
    case v3::Secret::kTlsCertificate: {
      const std::string at = path.field("tls_certificate").to_string();
      SLUICE_ASSIGN(auto made, extensions::to_certificate(in.tls_certificate(), at));
      const auto& files = in.tls_certificate();
      if (Status s = tls::check(made, name_of(files.certificate_chain()), name_of(files.private_key())); !s)
        return std::move(s).error().prefixed(at);
      return make_secret(std::move(made));
    }
    case v3::Secret::kValidationContext: {
      const std::string at = path.field("validation_context").to_string();
      SLUICE_ASSIGN(auto made, extensions::to_validation(in.validation_context(), at));
      if (Status s = tls::check(made); !s) return std::move(s).error().prefixed(at);
      return make_secret(std::move(made));
    }
    case v3::Secret::kSessionTicketKeys: {
      const std::string at = path.field("session_ticket_keys").to_string();
      SLUICE_ASSIGN(auto made, extensions::to_ticket_keys(in.session_ticket_keys(), at));
      Hash hash;
      for (const std::string& k : made.keys) hash.add(k);
      Secret out;
      out.hash = hash.take();
      out.ticket_keys = seal(std::move(made));
      return out;
    }
    default:
      return refuse(path, "Secret type not implemented");
  }
}

Status StaticSecrets::add_static(const google::protobuf::Message& message, std::string_view path) {
  const auto& in = static_cast<const v3::Secret&>(message);
  const FieldPath at(path);
  SLUICE_ASSIGN(Secret made, translate(in, at));
  const char* field = made.certificate  ? kSecretField<tls::Certificate>
                      : made.validation ? kSecretField<tls::Validation>
                                        : kSecretField<tls::TicketKeys>;
  const char* kind = made.certificate  ? "TlsCertificate"
                     : made.validation ? "CertificateValidationContext"
                                       : "TlsSessionTicketKeys";
  std::string k = key(field, in.name());
  if (!secrets_.emplace(k, std::move(made)).second)
    return refuse(at.field("name"), "Duplicate static " + std::string(kind) + " secret name " + in.name());
  order_.push_back(std::move(k));
  return {};
}

Result<std::shared_ptr<const model::CertificateSource>> StaticSecrets::certificate(
    const std::string& name, const model::ConfigSource* source) {
  return find_static<tls::Certificate>(*this, name, source);
}

Result<std::shared_ptr<const model::ValidationSource>> StaticSecrets::validation(
    const std::string& name, const model::ConfigSource* source) {
  return find_static<tls::Validation>(*this, name, source);
}

Result<std::shared_ptr<const model::TicketKeySource>> StaticSecrets::ticket_keys(
    const std::string& name, const model::ConfigSource* source) {
  return find_static<tls::TicketKeys>(*this, name, source);
}

}  // namespace sluice::config
