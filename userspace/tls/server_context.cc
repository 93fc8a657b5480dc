#include <openssl/core_names.h>

#include "tls/context.h"
#include "tls/context_base.h"
#include "tls/errors.h"
#include "tls/names.h"
#include "tls/select.h"
#include "tls/socket.h"
#include "tls/ticket_ring.h"

namespace sluice::tls {

struct ServerContext::Impl final : ContextBase {
  ServerSettings settings;
  std::string alpn;
  std::vector<Identity> identities;
  std::unique_ptr<Selector> selector;
  std::vector<SslCtxPtr> contexts;  // one a certificate; the first takes the ClientHello
  TicketRingPtr tickets;
  bool own_tickets = false;  // tickets are the process's
  WallTime tickets_as_of{};

  Status init(const ServerSecrets& secrets);
  Status init(SSL_CTX* ctx, const Identity& identity, const std::string& session_context);
  std::string session_context(const ServerSecrets& secrets) const;
  const TicketRing* ring(WallTime now, bool fresh);
  int select(SSL* ssl, int* alert);

  static Impl& of(SSL* ssl) { return static_cast<Impl&>(Socket::of(ssl).context()); }
  static int on_hello(SSL* ssl, int* alert, void*) { return of(ssl).select(ssl, alert); }
  static int on_alpn(SSL*, const uint8_t** out, uint8_t* n, const uint8_t* in, unsigned in_n, void* self);
  static int on_staple(SSL* ssl, void*);
  static int on_ticket_key(SSL* ssl, uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int encrypt);
  static int on_ticket_made(SSL* ssl, void*);
  static SSL_TICKET_RETURN on_ticket_read(SSL*, SSL_SESSION*, const uint8_t*, size_t, SSL_TICKET_STATUS,
                                          void*);
};

namespace {

// Sessions of TLS 1.2 clients that take no tickets, a context: their certificates stand in memory.
constexpr long kSessionCache = 1024;

// The peer's chain behind its own certificate, for a ticket: the library keeps the leaf alone. Each with its length.
std::string pack(STACK_OF(X509) * chain) {
  std::string out;
  for (int i = 0; chain && i < sk_X509_num(chain); ++i) {
    const std::string der = der_of(sk_X509_value(chain, i));
    for (int shift : {16, 8, 0}) out += static_cast<char>(der.size() >> shift & 0xff);
    out += der;
  }
  return out;
}

X509sPtr unpack(std::string_view packed) {
  X509sPtr chain(sk_X509_new_null());
  while (packed.size() > 3) {
    size_t n = 0;
    for (int i = 0; i < 3; ++i) n = n << 8 | static_cast<uint8_t>(packed[i]);
    X509Ptr x = parse_certificate(packed.substr(3, n));
    if (!x) break;
    sk_X509_push(chain.get(), x.release());
    packed.remove_prefix(std::min(packed.size(), 3 + n));
  }
  return chain;
}

}  // namespace

Status ServerContext::Impl::init(const ServerSecrets& secrets) {
  if (secrets.certificates.empty()) return Error{"Server TlsCertificates must have a certificate specified"};
  if (secrets.validation) {
    SLUICE_ASSIGN(validator, Validator::make(*secrets.validation));
    // Nothing to verify against: a certificate that settings ask for is taken as it is.
    if (validator->verify_mode() == SSL_VERIFY_NONE) validator = nullptr;
  }
  SLUICE_ASSIGN(key_log, KeyLog::make(settings.key_log));
  SLUICE_ASSIGN(alpn, alpn_wire(settings.alpn));
  if (secrets.tickets) {
    SLUICE_ASSIGN(TicketRing ring, TicketRing::make(*secrets.tickets));
    tickets = std::make_shared<const TicketRing>(std::move(ring));
  } else {
    own_tickets = true;
  }
  for (const auto& c : secrets.certificates) {
    SLUICE_ASSIGN(Identity identity, load_identity(*c, "<inline>", "<inline>"));
    if (!identity.ocsp && settings.ocsp == ServerSettings::Ocsp::must)
      return Error{"Required OCSP response is missing from TLS context"};
    identities.push_back(std::move(identity));
  }
  selector = std::make_unique<Selector>(identities, settings);
  const std::string context = session_context(secrets);
  for (const Identity& identity : identities) {
    SLUICE_ASSIGN(SslCtxPtr ctx, make_ssl_ctx(settings, *this));
    SLUICE_TRY(init(ctx.get(), identity, context));
    contexts.push_back(std::move(ctx));
  }
  SSL_CTX_set_client_hello_cb(contexts[0].get(), on_hello, nullptr);
  return {};
}

Status ServerContext::Impl::init(SSL_CTX* ctx, const Identity& identity, const std::string& session_context) {
  SLUICE_TRY(use_identity(ctx, identity));
  SSL_CTX_set_keylog_callback(ctx,
                              Socket::on_key_log);  // which hands the traffic secrets to the record layer
  int mode = validator ? validator->verify_mode() : SSL_VERIFY_NONE;
  if (settings.require_client_certificate) mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(ctx, mode, nullptr);
  if (validator && validator->has_ca()) SSL_CTX_set_client_CA_list(ctx, validator->ca_names());
  if (!alpn.empty()) SSL_CTX_set_alpn_select_cb(ctx, on_alpn, this);
  if (!settings.prefer_client_ciphers) SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
  // So that the name is known of resumed sessions of TLS 1.2 too.
  SSL_CTX_set_tlsext_servername_callback(ctx, +[](SSL*, int*, void*) { return SSL_TLSEXT_ERR_OK; });
  if (identity.ocsp) SSL_CTX_set_tlsext_status_cb(ctx, on_staple);
  SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const uint8_t*>(session_context.data()),
                                 static_cast<unsigned>(session_context.size()));
  if (settings.tickets) {
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key);
    SSL_CTX_set_session_ticket_cb(ctx, on_ticket_made, on_ticket_read, nullptr);
    // BoringSSL gives two. One with a client's certificate in it costs OpenSSL more than the handshake's cryptography.
    SSL_CTX_set_num_tickets(ctx, mode == SSL_VERIFY_NONE ? 2 : 1);
  } else {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);  // TLS 1.3 would make stateful ones
  }
  SSL_CTX_set_session_cache_mode(ctx, settings.session_cache ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
  SSL_CTX_sess_set_cache_size(ctx, kSessionCache);
  if (settings.session_timeout > Duration{})
    SSL_CTX_set_timeout(ctx,
                        std::chrono::duration_cast<std::chrono::seconds>(settings.session_timeout).count());
  return {};
}

// Sessions are resumed where the server goes by the same names and asks the same of its clients, and nowhere else: what was
// verified when a session began holds for the context that resumes it.
std::string ServerContext::Impl::session_context(const ServerSecrets& secrets) const {
  std::string all;
  auto put = [&](std::string_view s) { all.append(std::to_string(s.size())).append(":").append(s); };
  for (const Identity& id : identities) {
    put(common_name(id.leaf.get()));
    for (const std::string& name : all_names_of(id.leaf.get())) put(name);
    BioPtr issuer(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(issuer.get(), X509_get_issuer_name(id.leaf.get()), 0, XN_FLAG_RFC2253);
    put(to_text(issuer.get()));
  }
  put(settings.require_client_certificate ? "required" : "");
  if (const Validation* v = secrets.validation.get()) {
    put(v->trusted_ca);
    put(v->crl);
    for (const auto& h : v->certificate_hashes) put(h);
    put("spki");
    for (const auto& h : v->spki_hashes) put(h);
    for (const SanMatcher& m : v->sans) {
      put(std::to_string(static_cast<int>(m.type)) + std::to_string(static_cast<int>(m.matcher.kind)));
      put(m.oid);
      put(m.matcher.regex ? m.matcher.regex->pattern() : m.matcher.text);
      put(m.matcher.ignore_case ? "i" : "");
    }
    put(std::to_string(v->allow_expired) + std::to_string(v->accept_untrusted) +
        std::to_string(v->only_verify_leaf_crl) + std::to_string(v->max_verify_depth));
    for (const auto& d : v->trust_domains) {
      put(d.name);
      put(d.bundle);
    }
  }
  return digest(EVP_sha256(), all);
}

const TicketRing* ServerContext::Impl::ring(WallTime now, bool fresh) {
  if (own_tickets &&
      (!tickets || fresh || now - tickets_as_of > std::chrono::minutes(10) || now < tickets_as_of)) {
    tickets = process_tickets(now);
    tickets_as_of = now;
  }
  return tickets.get();
}

int ServerContext::Impl::select(SSL* ssl, int* alert) {
  Socket& socket = Socket::of(ssl);
  const Selector::Hello hello = Selector::read(ssl);
  const Selector::Choice choice = selector->choose(hello, socket.now());
  Stats& stats = socket.stats();
  if (hello.wants_staple) stats.ocsp_staple_requests.add();
  switch (choice.staple) {
    case Selector::Staple::yes:
      stats.ocsp_staple_responses.add();
      break;
    case Selector::Staple::no:
      stats.ocsp_staple_omitted.add();
      break;
    case Selector::Staple::not_asked:
      break;
    case Selector::Staple::fail:
      stats.ocsp_staple_failed.add();
      *alert = SSL_AD_HANDSHAKE_FAILURE;
      return SSL_CLIENT_HELLO_ERROR;
  }
  socket.set_staple(choice.staple == Selector::Staple::yes);
  if (choice.certificate != 0 && !SSL_set_SSL_CTX(ssl, contexts[choice.certificate].get())) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
  }
  // Who names no signature algorithms knows SHA-1 alone (RFC 5246 section 7.4.1.4.1); of level 1 the library would refuse
  // such a client even where nothing is signed. Peers' chains are the validator's matter.
  if (!hello.names_signatures) SSL_set_security_level(ssl, 0);
  if (!hello.takes_tickets) SSL_set_num_tickets(ssl, 0);
  return SSL_CLIENT_HELLO_SUCCESS;
}

int ServerContext::Impl::on_alpn(SSL*, const uint8_t** out, uint8_t* n, const uint8_t* in, unsigned in_n,
                                 void* arg) {
  const auto& ours = static_cast<Impl*>(arg)->alpn;
  // Ours in our order; without one in common the connection goes on without ALPN.
  const int r =
      SSL_select_next_proto(const_cast<uint8_t**>(out), n, reinterpret_cast<const uint8_t*>(ours.data()),
                            static_cast<unsigned>(ours.size()), in, in_n);
  return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

int ServerContext::Impl::on_staple(SSL* ssl, void*) {
  if (!Socket::of(ssl).staple()) return SSL_TLSEXT_ERR_NOACK;
  const Impl& self = of(ssl);
  const SSL_CTX* now = SSL_get_SSL_CTX(ssl);
  for (size_t i = 0; i < self.contexts.size(); ++i) {
    if (self.contexts[i].get() != now) continue;
    const std::string& der = self.identities[i].ocsp->der;
    auto* copy = static_cast<uint8_t*>(OPENSSL_memdup(der.data(), der.size()));
    if (!copy) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(der.size()));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

int ServerContext::Impl::on_ticket_key(SSL* ssl, uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher,
                                       EVP_MAC_CTX* mac, int encrypt) {
  Impl& self = of(ssl);
  const WallTime now = Socket::of(ssl).now();
  int r = self.ring(now, false)->process(name, iv, cipher, mac, encrypt);
  // Another worker may have had newer keys when it made the ticket.
  if (r == 0 && !encrypt && self.own_tickets) r = self.ring(now, true)->process(name, iv, cipher, mac, false);
  return r;
}

int ServerContext::Impl::on_ticket_made(SSL* ssl, void*) {
  if (!of(ssl).validator || !SSL_get0_peer_certificate(ssl)) return 1;
  const std::string chain = pack(SSL_get_peer_cert_chain(ssl));
  // A ticket ends at 64 KiB. Without its chain it may not be taken when it comes back: then all is asked anew.
  constexpr size_t kLongest = 16 * 1024;
  if (chain.size() > kLongest) return 1;
  return chain.empty() ? 1
                       : SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), chain.data(), chain.size());
}

// A ticket's certificate is verified again: it may have expired. If it does not pass, a full handshake says why.
SSL_TICKET_RETURN ServerContext::Impl::on_ticket_read(SSL* ssl, SSL_SESSION* session, const uint8_t*, size_t,
                                                      SSL_TICKET_STATUS status, void*) {
  const bool renew = status == SSL_TICKET_SUCCESS_RENEW;
  if (status != SSL_TICKET_SUCCESS && !renew)
    return status == SSL_TICKET_EMPTY || status == SSL_TICKET_NO_DECRYPT ? SSL_TICKET_RETURN_IGNORE_RENEW
                                                                         : SSL_TICKET_RETURN_ABORT;
  Socket& socket = Socket::of(ssl);
  X509* leaf = SSL_SESSION_get0_peer(session);
  X509sPtr chain;
  if (leaf && of(ssl).validator) {
    void* packed = nullptr;
    size_t n = 0;
    SSL_SESSION_get0_ticket_appdata(session, &packed, &n);
    chain = unpack({static_cast<const char*>(packed), n});
    const bool good = of(ssl).validator->verify(socket.request(leaf, chain.get())).accepted;
    clear_errors();
    if (!good) return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  socket.set_ticket_checked(std::move(chain));
  // A ticket of TLS 1.3 is used once: with each use goes a new one.
  return renew || SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION ? SSL_TICKET_RETURN_USE_RENEW
                                                                              : SSL_TICKET_RETURN_USE;
}

ServerContext::~ServerContext() = default;

Result<std::shared_ptr<ServerContext>> ServerContext::make(const ServerSettings& settings,
                                                           const ServerSecrets& secrets) {
  LibraryScope scope;
  clear_errors();
  auto impl = std::make_shared<Impl>();
  impl->settings = settings;
  SLUICE_TRY(impl->init(secrets));
  auto context = std::make_shared<ServerContext>();
  context->impl_ = std::move(impl);
  return context;
}

ext::TransportSocketPtr ServerContext::accept(const SocketEnvironment& environment) {
  clear_errors();
  SslPtr ssl(SSL_new(impl_->contexts[0].get()));
  if (!ssl) return nullptr;
  SSL_set_accept_state(ssl.get());
  return std::make_unique<Socket>(impl_, std::move(ssl), environment, nullptr);
}

}  // namespace sluice::tls
