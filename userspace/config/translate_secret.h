#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "config/factory_context.h"
#include "config/path.h"
#include "core/result.h"
#include "tls/secret.h"

namespace envoy::extensions::transport_sockets::tls::v3 {
class Secret;
}

namespace sluice::config {

// An envoy...tls.v3.Secret: one of the three. What must not stay in memory is overwritten when the last user lets go.
struct Secret {
  std::shared_ptr<const tls::Certificate> certificate;
  std::shared_ptr<const tls::Validation> validation;
  std::shared_ptr<const tls::TicketKeys> ticket_keys;
  uint64_t hash = 0;  // of its contents; equal contents have equal ones

  template <typename T>
  const std::shared_ptr<const T>& get() const;
};
template <>
inline const std::shared_ptr<const tls::Certificate>& Secret::get() const {
  return certificate;
}
template <>
inline const std::shared_ptr<const tls::Validation>& Secret::get() const {
  return validation;
}
template <>
inline const std::shared_ptr<const tls::TicketKeys>& Secret::get() const {
  return ticket_keys;
}

// "tls_certificate", "validation_context", "session_ticket_keys": the field of a Secret that has it.
template <typename T>
inline constexpr const char* kSecretField = "tls_certificate";
template <>
inline constexpr const char* kSecretField<tls::Validation> = "validation_context";
template <>
inline constexpr const char* kSecretField<tls::TicketKeys> = "session_ticket_keys";

// Reads the files that the message names, and checks that TLS can use what is in them.
Result<Secret> translate(const envoy::extensions::transport_sockets::tls::v3::Secret& in,
                         const FieldPath& path);
Secret make_secret(tls::Certificate certificate);
Secret make_secret(tls::Validation validation);

// static_resources.secrets. They never change. What is to be discovered never comes: enough for --mode validate, and what
// discovers secrets keeps one of these for those that are not.
class StaticSecrets final : public Secrets {
 public:
  // An error: it cannot be used, or there is one of its kind and name already.
  Status add_static(const google::protobuf::Message& secret, std::string_view path) override;

  Result<std::shared_ptr<const model::CertificateSource>> certificate(
      const std::string& name, const model::ConfigSource* source) override;
  Result<std::shared_ptr<const model::ValidationSource>> validation(
      const std::string& name, const model::ConfigSource* source) override;
  Result<std::shared_ptr<const model::TicketKeySource>> ticket_keys(
      const std::string& name, const model::ConfigSource* source) override;

  // Null: there is none of that name.
  template <typename T>
  std::shared_ptr<const T> find(const std::string& name) const {
    const auto at = secrets_.find(key(kSecretField<T>, name));
    return at == secrets_.end() ? nullptr : at->second.template get<T>();
  }
  // In the order of the bootstrap.
  template <typename F>
  void for_each(F f) const {
    for (const std::string& k : order_) f(secrets_.at(k));
  }

 private:
  static std::string key(std::string_view kind, const std::string& name) {
    return std::string(kind) + "/" + name;
  }
  std::unordered_map<std::string, Secret> secrets_;
  std::vector<std::string> order_;
};

// Envoy's words for a name that static_resources.secrets does not have.
template <typename T>
Error unknown_static_secret(const std::string& name) {
  return Error{(std::is_same_v<T, tls::Validation> ? "Unknown static certificate validation context: "
                                                   : "Unknown static secret: ") +
               name};
}

}  // namespace sluice::config
