#include <deque>
#include <list>
#include <unordered_map>

#include "tls/context.h"
#include "tls/context_base.h"
#include "tls/errors.h"
#include "tls/names.h"
#include "tls/socket.h"

namespace sluice::tls {
namespace {

// Peers that sessions are kept of, a context; beyond them the one not used for longest is forgotten.
constexpr size_t kPeers = 1024;

}  // namespace

struct ClientContext::Impl final : ContextBase {
  ClientSettings settings;
  std::string alpn;
  SslCtxPtr ctx;

  struct Peer {
    std::string key;
    std::deque<SessionPtr> sessions;  // the newest first
  };
  std::list<Peer> peers;  // the one used last first
  std::unordered_map<std::string_view, std::list<Peer>::iterator> by_key;

  Status init(const ClientSecrets& secrets);
  bool keep_session(const std::string& key, SSL_SESSION* session) override;
  SessionPtr take_session(const std::string& key, WallTime now);
  Peer* find(const std::string& key);
};

Status ClientContext::Impl::init(const ClientSecrets& secrets) {
  // Also without a validation context: a connection may bring names of its own.
  SLUICE_ASSIGN(validator, Validator::make(secrets.validation ? *secrets.validation : Validation{}));
  if (settings.auto_sni_san_validation) {
    if (!secrets.validation)
      return Error{"'auto_sni_san_validation' was configured without a validation context"};
    if (!validator->has_ca() || validator->spiffe())
      return Error{"'auto_sni_san_validation' was configured without configuring a trusted CA"};
  }
  auto_sni_san = settings.auto_sni_san_validation;
  enforce_rsa_key_usage = settings.enforce_rsa_key_usage;
  SLUICE_ASSIGN(key_log, KeyLog::make(settings.key_log));
  SLUICE_ASSIGN(alpn, alpn_wire(settings.alpn));
  SLUICE_ASSIGN(ctx, make_ssl_ctx(settings, *this));
  if (!secrets.certificates.empty()) {
    SLUICE_ASSIGN(const Identity identity, load_identity(*secrets.certificates[0], "<inline>", "<inline>"));
    SLUICE_TRY(use_identity(ctx.get(), identity));
  }
  SSL_CTX* c = ctx.get();
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
  if (!alpn.empty())
    SSL_CTX_set_alpn_protos(c, reinterpret_cast<const uint8_t*>(alpn.data()),
                            static_cast<unsigned>(alpn.size()));
  if (settings.allow_renegotiation) SSL_CTX_clear_options(c, SSL_OP_NO_RENEGOTIATION);
  if (settings.max_session_keys > 0) {
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c, Socket::on_session);
  }
  return {};
}

ClientContext::Impl::Peer* ClientContext::Impl::find(const std::string& key) {
  auto it = by_key.find(key);
  if (it == by_key.end()) return nullptr;
  peers.splice(peers.begin(), peers, it->second);
  return &peers.front();
}

bool ClientContext::Impl::keep_session(const std::string& key, SSL_SESSION* session) {
  if (settings.max_session_keys == 0 || !SSL_SESSION_is_resumable(session)) return false;
  Peer* peer = find(key);
  if (!peer) {
    if (peers.size() >= kPeers) {
      by_key.erase(peers.back().key);
      peers.pop_back();
    }
    peers.push_front({key, {}});
    peer = &peers.front();
    by_key.emplace(peer->key, peers.begin());
  }
  std::erase_if(peer->sessions, [](const SessionPtr& s) { return !SSL_SESSION_is_resumable(s.get()); });
  for (const SessionPtr& s : peer->sessions)
    if (s.get() == session) return false;
  while (peer->sessions.size() >= settings.max_session_keys) peer->sessions.pop_back();
  peer->sessions.emplace_front(session);
  return true;
}

SessionPtr ClientContext::Impl::take_session(const std::string& key, WallTime now) {
  Peer* peer = find(key);
  while (peer && !peer->sessions.empty()) {
    SSL_SESSION* session = peer->sessions.front().get();
    X509* leaf = SSL_SESSION_get0_peer(session);
    time_t at = to_seconds(now);
    if (leaf &&
        X509_cmp_time(X509_get0_notAfter(leaf), &at) < 0) {  // a full handshake decides on the server again
      peer->sessions.pop_front();
      continue;
    }
    // RFC 8446 appendix C.4: a ticket of TLS 1.3 is used once.
    if (SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION) {
      SessionPtr taken = std::move(peer->sessions.front());
      peer->sessions.pop_front();
      return taken;
    }
    SSL_SESSION_up_ref(session);
    return SessionPtr(session);
  }
  return nullptr;
}

ClientContext::~ClientContext() = default;

Result<std::shared_ptr<ClientContext>> ClientContext::make(const ClientSettings& settings,
                                                           const ClientSecrets& secrets) {
  LibraryScope scope;
  clear_errors();
  auto impl = std::make_shared<Impl>();
  impl->settings = settings;
  SLUICE_TRY(impl->init(secrets));
  auto context = std::make_shared<ClientContext>();
  context->impl_ = std::move(impl);
  return context;
}

ext::TransportSocketPtr ClientContext::connect(const SocketEnvironment& environment,
                                               const ConnectOptions& options) {
  clear_errors();
  Impl& impl = *impl_;
  SslPtr ssl(SSL_new(impl.ctx.get()));
  if (!ssl) return nullptr;
  SSL_set_connect_state(ssl.get());
  const std::string& name = !options.server_name.empty() ? options.server_name
                            : impl.settings.auto_host_sni && !options.host_name.empty()
                                ? options.host_name
                                : impl.settings.server_name;
  if (!name.empty() && SSL_set_tlsext_host_name(ssl.get(), name.c_str()) != 1) return nullptr;
  const std::vector<std::string>& protocols = !options.alpn.empty() ? options.alpn
                                              : impl.alpn.empty()   ? options.alpn_fallback
                                                                    : options.alpn;
  if (!protocols.empty()) {
    auto wire = alpn_wire(protocols);
    if (!wire.ok()) return nullptr;
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const uint8_t*>(wire->data()),
                        static_cast<unsigned>(wire->size()));
  }
  auto client = std::make_unique<Socket::Client>();
  client->names = options.verify_names;
  if (impl.settings.max_session_keys > 0) {
    // Everything that the server was verified for is in the key, whatever the caller put there.
    std::string& key = client->session_key;
    for (const std::string* part : {&options.session_key, &name}) key.append(*part).push_back('\0');
    for (const std::string& n : options.verify_names) key.append(n).push_back('\1');
    for (const std::string& p : protocols) key.append(p).push_back('\2');
    if (SessionPtr session = impl.take_session(key, environment.loop.wall_now()))
      SSL_set_session(ssl.get(), session.get());
  }
  return std::make_unique<Socket>(impl_, std::move(ssl), environment, std::move(client));
}

}  // namespace sluice::tls
