#include "tls/cipher_list.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

#include "tls/errors.h"

namespace sluice::tls {
namespace {

constexpr const char* kDefault =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
// All of TLS 1.3, in BoringSSL's order on machines with AES instructions; not configurable there either.
constexpr const char* kTls13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

// One cipher or rule in OpenSSL's words; "": there is none of that name.
std::string translate(std::string_view token) {
  const size_t sign = token.find_first_not_of("!+-");
  if (sign == token.npos) return {};
  std::string name(token.substr(sign));
  if (name.starts_with("TLS_")) {
    const char* openssl = OPENSSL_cipher_name(name.c_str());
    if (!openssl || std::string_view(openssl) == "(NONE)") return {};
    name = openssl;
  }
  return std::string(token.substr(0, sign)) + name;
}

bool known(SSL_CTX* scratch, std::string_view rule) {
  rule.remove_prefix(std::min(rule.find_first_not_of("!+-"), rule.size()));
  const bool ok = !rule.empty() && SSL_CTX_set_cipher_list(scratch, std::string(rule).c_str()) == 1;
  clear_errors();
  return ok;
}

}  // namespace

Status set_ciphers(SSL_CTX* ctx, const std::vector<std::string>& suites) {
  const std::string list = suites.empty() ? kDefault : fmt::format("{}", fmt::join(suites, ":"));
  SslCtxPtr scratch(SSL_CTX_new_ex(library(), nullptr, TLS_method()));
  if (!scratch) return Error{"TLS: out of memory"};
  SSL_CTX_set_security_level(scratch.get(), SSL_CTX_get_security_level(ctx));
  std::string flat;
  std::vector<std::string> bad;
  bool in_group = false, chacha_in_group = false;
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find_first_of(":[|]", at), list.size());
    if (const std::string_view token = std::string_view(list).substr(at, end - at); !token.empty()) {
      const std::string rule = translate(token);
      if (rule.empty() || !known(scratch.get(), rule)) {
        bad.emplace_back(token.substr(token.front() == '-' ? 1 : 0));
      } else {
        flat += (flat.empty() ? "" : ":") + rule;
        chacha_in_group |= in_group && rule.find("CHACHA20") != rule.npos;
      }
    }
    if (end < list.size() && list[end] == '[') in_group = true;
    if (end < list.size() && list[end] == ']') in_group = false;
    at = end + 1;
  }
  if (!bad.empty() || SSL_CTX_set_cipher_list(ctx, flat.c_str()) != 1) {
    clear_errors();
    return Error{
        fmt::format("Failed to initialize cipher suites {}. The following ciphers were rejected when tried "
                    "individually: {}",
                    list, fmt::join(bad, ", "))};
  }
  if (chacha_in_group) SSL_CTX_set_options(ctx, SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_ciphersuites(ctx, kTls13);
  return {};
}

}  // namespace sluice::tls
