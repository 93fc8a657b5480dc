#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "tls/identity.h"
#include "tls/key_log.h"
#include "tls/openssl.h"
#include "tls/secret.h"
#include "tls/settings.h"
#include "tls/validator.h"

namespace sluice::tls {

// What the contexts of both sides have in common. Held by their sockets.
struct ContextBase {
  virtual ~ContextBase() = default;
  // The server gave a session for later connections. Takes ownership where it returns true.
  virtual bool keep_session(const std::string& /*key*/, SSL_SESSION*) { return false; }

  std::shared_ptr<const Validator> validator;  // null: certificates are taken as they are
  std::shared_ptr<KeyLog> key_log;  // null: none
  bool auto_sni_san = false;
  bool enforce_rsa_key_usage = false;
};

// A library context with everything of `settings`, and the callbacks that lead to the connection's Socket.
Result<SslCtxPtr> make_ssl_ctx(const CommonSettings& settings, const ContextBase& base);
Status use_identity(SSL_CTX* ctx, const Identity& identity);
// As ALPN goes over the wire. An error where one is empty or longer than 255 bytes.
Result<std::string> alpn_wire(const std::vector<std::string>& protocols);

}  // namespace sluice::tls
