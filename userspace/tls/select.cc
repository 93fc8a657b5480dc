#include "tls/select.h"

#include <algorithm>
#include <optional>
#include <span>

#include "tls/names.h"

namespace sluice::tls {
namespace {

using Bytes = std::span<const uint8_t>;

uint16_t u16(Bytes b, size_t at) {
  return static_cast<uint16_t>(b[at] << 8 | b[at + 1]);
}

std::optional<Bytes> extension(SSL* ssl, unsigned type) {
  const uint8_t* data = nullptr;
  size_t n = 0;
  if (!SSL_client_hello_get0_ext(ssl, type, &data, &n)) return std::nullopt;
  return Bytes(data, n);
}

// A list with its length in two bytes in front, and nothing behind it; empty where it is malformed.
Bytes list16(Bytes b) {
  if (b.size() < 2 || b.size() != size_t{2} + u16(b, 0)) return {};
  return b.subspan(2);
}

// Curves by their numbers as signature schemes (TLS 1.3) or as groups (before).
std::vector<int> curves_of(Bytes list) {
  std::vector<int> out;
  for (size_t i = 0; i + 1 < list.size(); i += 2) {
    switch (u16(list, i)) {
      case 0x0403:
      case 23:
        out.push_back(NID_X9_62_prime256v1);
        break;
      case 0x0503:
      case 24:
        out.push_back(NID_secp384r1);
        break;
      case 0x0603:
      case 25:
        out.push_back(NID_secp521r1);
        break;
    }
  }
  return out;
}

bool offers_ecdsa_cipher(SSL* ssl) {
  const uint8_t* ids = nullptr;
  const size_t n = SSL_client_hello_get0_ciphers(ssl, &ids);
  STACK_OF(SSL_CIPHER)* ours = SSL_get_ciphers(ssl);
  for (size_t i = 0; i + 1 < n; i += 2) {
    const SSL_CIPHER* c = SSL_CIPHER_find(ssl, ids + i);
    if (c && SSL_CIPHER_get_auth_nid(c) == NID_auth_ecdsa &&
        sk_SSL_CIPHER_find(ours, const_cast<SSL_CIPHER*>(c)) >= 0)
      return true;
  }
  return false;
}

}  // namespace

Selector::Selector(const std::vector<Identity>& identities, const ServerSettings& settings)
    : identities_(identities), settings_(settings) {
  for (size_t i = 0; i < identities.size(); ++i) {
    const Identity& id = identities[i];
    has_rsa_ |= id.kind == EVP_PKEY_RSA;
    std::vector<std::string> names;
    if (alternative_names(id.leaf.get())) {
      names = names_of(id.leaf.get(), GEN_DNS);
    } else if (std::string cn = common_name(id.leaf.get());
               !cn.empty()) {  // RFC 6125 section 6.4.4: only without SANs
      names.push_back(std::move(cn));
    }
    for (const std::string& name : names) {
      auto& with_name = names_[name.starts_with("*.") ? name.substr(1) : name];
      const bool known = std::any_of(with_name.begin(), with_name.end(),
                                     [&](size_t k) { return identities[k].kind == id.kind; });
      if (!known) with_name.push_back(i);
    }
  }
}

Selector::Hello Selector::read(SSL* ssl) {
  Hello hello;
  hello.names_signatures = extension(ssl, TLSEXT_TYPE_signature_algorithms).has_value();
  hello.wants_staple = extension(ssl, TLSEXT_TYPE_status_request).has_value();
  // RFC 6066 section 3: a list of one name of type 0.
  if (auto sni = extension(ssl, TLSEXT_TYPE_server_name)) {
    const Bytes list = list16(*sni);
    if (list.size() > 3 && list[0] == 0 && list.size() == size_t{3} + u16(list, 1))
      hello.server_name = {reinterpret_cast<const char*>(list.data()) + 3, list.size() - 3};
  }
  if (SSL_get_max_proto_version(ssl) == TLS1_3_VERSION && extension(ssl, TLSEXT_TYPE_supported_versions)) {
    if (auto schemes = extension(ssl, TLSEXT_TYPE_signature_algorithms))
      hello.curves = curves_of(list16(*schemes));
    constexpr uint8_t kWithKeyExchange = 1;  // psk_dhe_ke
    const auto modes = extension(ssl, TLSEXT_TYPE_psk_kex_modes);  // with a length in front
    hello.takes_tickets =
        modes && std::find(modes->begin() + !modes->empty(), modes->end(), kWithKeyExchange) != modes->end();
    return hello;
  }
  if (auto groups = extension(ssl, TLSEXT_TYPE_supported_groups)) hello.curves = curves_of(list16(*groups));
  if (!hello.curves.empty() && !offers_ecdsa_cipher(ssl)) hello.curves.clear();
  return hello;
}

Selector::Staple Selector::staple(const Identity& id, const Hello& hello, WallTime now) const {
  using Ocsp = ServerSettings::Ocsp;
  if (!hello.wants_staple) return Staple::not_asked;
  if (id.ocsp && !id.ocsp->expired(now)) return Staple::yes;
  const Ocsp policy = id.must_staple ? Ocsp::must : settings_.ocsp;
  if (policy == Ocsp::must || (policy == Ocsp::strict && id.ocsp)) return Staple::fail;
  return Staple::no;
}

Selector::Choice Selector::choose(const Hello& hello, WallTime now) const {
  std::optional<Choice> chosen, candidate;
  const bool ecdsa = !hello.curves.empty();
  // True: no better one can come. An RSA certificate is second choice where the client takes ECDSA.
  auto consider = [&](size_t i) {
    const Identity& id = identities_[i];
    const Choice choice{i, staple(id, hello, now)};
    if (choice.staple == Staple::fail) return false;
    if (id.curve != NID_undef) {
      if (std::find(hello.curves.begin(), hello.curves.end(), id.curve) == hello.curves.end()) return false;
      chosen = choice;
      return true;
    }
    if (!ecdsa) {
      chosen = choice;
      return true;
    }
    if (!candidate) candidate = choice;
    return false;
  };
  auto by_name = [&](std::string_view name) {
    auto it = names_.find(name);
    if (it != names_.end()) std::any_of(it->second.begin(), it->second.end(), consider);
  };
  const Choice first{0, staple(identities_[0], hello, now)};
  if (!hello.server_name.empty()) {
    by_name(hello.server_name);
    if (!chosen) chosen = candidate;
    if (!chosen) {
      const size_t dot = hello.server_name.find('.', 1);
      if (dot != hello.server_name.npos && dot + 1 < hello.server_name.size())
        by_name(hello.server_name.substr(dot));
      if (!chosen) chosen = candidate;
    }
    if (chosen) return *chosen;
    if (!settings_.full_scan_on_sni_mismatch) return first;
  }
  if (ecdsa || has_rsa_)
    for (size_t i = 0; i < identities_.size(); ++i)
      if (consider(i)) break;
  if (!chosen) chosen = candidate;
  return chosen.value_or(first);
}

}  // namespace sluice::tls
