#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "tls/cipher_list.h"
#include "tls/context_base.h"
#include "tls/errors.h"
#include "tls/socket.h"

namespace sluice::tls {
namespace {

int number_of(Version v) {
  switch (v) {
    case Version::tls10:
      return TLS1_VERSION;
    case Version::tls11:
      return TLS1_1_VERSION;
    case Version::tls12:
      return TLS1_2_VERSION;
    case Version::tls13:
      return TLS1_3_VERSION;
  }
  return TLS1_3_VERSION;
}

}  // namespace

Result<std::string> alpn_wire(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& p : protocols) {
    if (p.empty() || p.size() > 255) return Error{"Invalid ALPN protocol string"};
    wire += static_cast<char>(p.size());
    wire += p;
  }
  if (wire.size() >= 65535) return Error{"Invalid ALPN protocol string"};
  return wire;
}

Result<SslCtxPtr> make_ssl_ctx(const CommonSettings& settings, const ContextBase& base) {
  SslCtxPtr ctx(SSL_CTX_new_ex(library(), nullptr, TLS_method()));
  if (!ctx) return Error{"TLS: out of memory"};
  SSL_CTX* c = ctx.get();
  // TLS before 1.2 signs with MD5 and SHA-1, which level 1 refuses. What the system's openssl.cnf says does not count: the
  // configuration is the same everywhere.
  SSL_CTX_set_security_level(c, settings.min_version < Version::tls12 ? 0 : 1);
  SSL_CTX_set_min_proto_version(c, number_of(settings.min_version));
  SSL_CTX_set_max_proto_version(c, number_of(settings.max_version));
  SLUICE_TRY(set_ciphers(c, settings.cipher_suites));
  // BoringSSL's, all of cofactor 1: library.cc counts on it.
  static constexpr std::string_view kCurves[] = {"X25519", "P-224", "P-256", "P-384", "P-521"};
  const bool curves_known =
      std::all_of(settings.curves.begin(), settings.curves.end(), [](const std::string& name) {
        return std::find(std::begin(kCurves), std::end(kCurves), name) != std::end(kCurves);
      });
  const std::string curves =
      settings.curves.empty() ? "X25519:P-256" : fmt::format("{}", fmt::join(settings.curves, ":"));
  if (!curves_known || SSL_CTX_set1_groups_list(c, curves.c_str()) != 1) {
    clear_errors();
    return Error{fmt::format("Failed to initialize ECDH curves {}", curves)};
  }
  if (!settings.signature_algorithms.empty()) {
    const std::string list = fmt::format("{}", fmt::join(settings.signature_algorithms, ":"));
    if (SSL_CTX_set1_sigalgs_list(c, list.c_str()) != 1) {
      clear_errors();
      return Error{fmt::format("Failed to initialize TLS signature algorithms {}", list)};
    }
  }
  SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(c, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(c, 0);
  SSL_CTX_set_max_early_data(c, 0);
  SSL_CTX_set_quiet_shutdown(c, 0);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_cert_verify_callback(c, Socket::on_verify, nullptr);
  if (base.key_log) SSL_CTX_set_keylog_callback(c, Socket::on_key_log);
  return ctx;
}

Status use_identity(SSL_CTX* ctx, const Identity& id) {
  if (SSL_CTX_use_certificate(ctx, id.leaf.get()) == 1 && SSL_CTX_set1_chain(ctx, id.chain.get()) == 1 &&
      SSL_CTX_use_PrivateKey(ctx, id.key.get()) == 1) {
    clear_errors();
    return {};
  }
  return Error{fmt::format("Failed to load certificate from <inline>, Cause: {}", first_error())};
}

}  // namespace sluice::tls
