#include "tls/info.h"

#include <optional>

#include "tls/names.h"

namespace sluice::tls {
namespace {

class Info final : public ext::TlsInfo {
 public:
  Info(SSL* ssl, STACK_OF(X509) * ticket_chain, std::string_view group,
       std::shared_ptr<const Validator> validator)
      : validator_(std::move(validator)),
        group_(group),
        version_(SSL_get_version(ssl)),
        cipher_(SSL_get_cipher_name(ssl)),
        resumed_(SSL_session_reused(ssl)),
        validated_(SSL_get_verify_result(ssl) == X509_V_OK) {
    const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
    cipher_id_ = cipher ? SSL_CIPHER_get_protocol_id(cipher) : 0;
    unsigned n = 0;
    const uint8_t* id = SSL_SESSION_get_id(SSL_get_session(ssl), &n);
    session_id_ = hex({id, n});
    const uint8_t* alpn = nullptr;
    SSL_get0_alpn_selected(ssl, &alpn, &n);
    alpn_.assign(reinterpret_cast<const char*>(alpn), n);
    if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) server_name_ = name;
    local_cert_ = share(SSL_get_certificate(ssl));
    X509* peer = SSL_get0_peer_certificate(ssl);
    if (!peer) return;
    shown_ = true;
    certificates_.push_back(share(peer));
    // The chain has the peer's own in front on the client's side alone.
    STACK_OF(X509)* chain = ticket_chain && resumed_ ? ticket_chain : SSL_get_peer_cert_chain(ssl);
    for (int i = SSL_is_server(ssl) ? 0 : 1; chain && i < sk_X509_num(chain); ++i)
      certificates_.push_back(share(sk_X509_value(chain, i)));
  }

  const std::string& version() const override { return version_; }
  const std::string& cipher() const override { return cipher_; }
  uint16_t cipher_id() const override { return cipher_id_; }
  std::string_view group() const override { return group_; }
  const std::string& session_id() const override { return session_id_; }
  const std::string& alpn() const override { return alpn_; }
  const std::string& server_name() const override { return server_name_; }
  bool resumed() const override { return resumed_; }
  bool peer_validated() const override { return shown_ && validated_; }

  const ext::CertificateInfo* peer() const override {
    if (!peer_ && shown_) {
      peer_ = describe(certificates_[0].get());
      // A parsed certificate is ten times as large as its bytes, and is hardly asked for anything more.
      for (const auto& x : certificates_) bytes_.push_back(der_of(x.get()));
      std::vector<X509Ptr>().swap(certificates_);
    }
    return peer_ ? &*peer_ : nullptr;
  }
  const ext::CertificateInfo* peer_issuer() const override {
    if (!issuer_ && validated_ && shown_) find_issuer();
    return issuer_ ? &*issuer_ : nullptr;
  }
  const ext::CertificateInfo* local() const override {
    if (!local_ && local_cert_) local_ = describe(local_cert_.get());
    return local_ ? &*local_ : nullptr;
  }
  const std::vector<std::string>& peer_chain_pem() const override { return fill(pem_, pem_of); }
  const std::vector<std::string>& peer_chain_serials() const override { return fill(serials_, serial_of); }
  const std::vector<std::string>& peer_chain_sha256() const override {
    return fill(sha256_, [](X509* x) { return digest_text(EVP_sha256(), x); });
  }
  const std::vector<std::string>& peer_chain_sha1() const override {
    return fill(sha1_, [](X509* x) { return digest_text(EVP_sha1(), x); });
  }

 private:
  static std::string digest_text(const EVP_MD* md, X509* x) {
    const std::string d = digest(md, der_of(x));
    return hex({reinterpret_cast<const uint8_t*>(d.data()), d.size()});
  }
  const std::vector<std::string>& fill(std::vector<std::string>& list, auto&& text) const {
    if (!list.empty()) return list;
    for (const auto& x : certificates_) list.push_back(text(x.get()));
    for (const std::string& der : bytes_)
      if (X509Ptr x = parse_certificate(der)) list.push_back(text(x.get()));
    return list;
  }

  // One that the peer sent, or one of those that are trusted.
  void find_issuer() const {
    std::vector<X509Ptr> all;
    for (const auto& x : certificates_) all.push_back(share(x.get()));
    for (const std::string& der : bytes_)
      if (X509Ptr x = parse_certificate(der)) all.push_back(std::move(x));
    if (all.empty()) return;
    X509* issuer = nullptr;
    for (size_t i = 1; i < all.size() && !issuer; ++i)
      if (X509_check_issued(all[i].get(), all[0].get()) == X509_V_OK) issuer = all[i].get();
    if (!issuer && validator_) issuer = validator_->issuer_of(all[0].get());
    if (issuer) issuer_ = describe(issuer);
  }

  const std::shared_ptr<const Validator> validator_;
  const std::string group_;
  std::string version_, cipher_, session_id_, alpn_, server_name_;
  uint16_t cipher_id_ = 0;
  bool resumed_, validated_;
  X509Ptr local_cert_;
  bool shown_ = false;  // the peer has a certificate
  mutable std::vector<X509Ptr> certificates_;  // the peer's, its own first, until peer() was asked for
  mutable std::vector<std::string> bytes_;  // from then on: their DER forms
  mutable std::optional<ext::CertificateInfo> peer_, issuer_, local_;
  mutable std::vector<std::string> pem_, sha256_, sha1_, serials_;
};

}  // namespace

ext::TlsInfoPtr make_info(SSL* ssl, STACK_OF(X509) * ticket_chain, std::string_view group,
                          std::shared_ptr<const Validator> validator) {
  return std::make_shared<Info>(ssl, ticket_chain, group, std::move(validator));
}

}  // namespace sluice::tls
