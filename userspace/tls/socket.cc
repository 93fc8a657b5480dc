#include "tls/socket.h"

#include <fmt/format.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>

#include "tls/errors.h"
#include "tls/info.h"
#include "tls/names.h"

namespace sluice::tls {
namespace {

constexpr size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;
// Records in a row without a byte for the application: key updates, tickets, empty records. BoringSSL draws the line at 32.
constexpr uint32_t kQuietRecords = 32;
// A block is left when less than this is free in it: a record's end would lie in another.
constexpr uint32_t kLeastRoom = 256;

const char* curve_name(int nid) {
  switch (nid & ~TLSEXT_nid_unknown) {
    case NID_X25519:
      return "X25519";
    case NID_X9_62_prime256v1:
      return "P-256";
    case NID_secp384r1:
      return "P-384";
    case NID_secp521r1:
      return "P-521";
    case NID_secp224r1:
      return "P-224";
    default:
      return nullptr;
  }
}

// The name of the peer's signature in TLS' registry; "": it has made none (a resumed session).
std::string signature_name(SSL* ssl) {
  int key = NID_undef, hash = NID_undef;
  if (!SSL_get_peer_signature_type_nid(ssl, &key)) return {};
  if (key == EVP_PKEY_ED25519) return "ed25519";
  if (key == EVP_PKEY_ED448) return "ed448";
  if (!SSL_get_peer_signature_nid(ssl, &hash)) return {};
  const char* bits = hash == NID_sha256   ? "sha256"
                     : hash == NID_sha384 ? "sha384"
                     : hash == NID_sha512 ? "sha512"
                     : hash == NID_sha1   ? "sha1"
                                          : "md5_sha1";
  switch (key) {
    case EVP_PKEY_RSA:
      return fmt::format("rsa_pkcs1_{}", bits);
    case EVP_PKEY_RSA_PSS:
      return fmt::format("rsa_pss_rsae_{}", bits);
    case EVP_PKEY_EC:
      return hash == NID_sha256   ? "ecdsa_secp256r1_sha256"
             : hash == NID_sha384 ? "ecdsa_secp384r1_sha384"
             : hash == NID_sha512 ? "ecdsa_secp521r1_sha512"
                                  : "ecdsa_sha1";
    default:
      return {};
  }
}

// Records of `out` behind its first `before` bytes.
uint64_t count_records(const Buffer& out, size_t before) {
  std::string scratch;
  const std::string_view bytes = out.peek(out.size(), scratch).substr(before);
  uint64_t n = 0;
  for (size_t at = 0; at + 5 <= bytes.size(); ++n)
    at += 5 + (static_cast<size_t>(static_cast<uint8_t>(bytes[at + 3])) << 8 |
               static_cast<uint8_t>(bytes[at + 4]));
  return n;
}

ext::TlsInfoPtr info_of(SSL* ssl, STACK_OF(X509) * ticket_chain, const ContextBase& context) {
  const char* group = curve_name(static_cast<int>(SSL_get_negotiated_group(ssl)));
  return make_info(ssl, ticket_chain, group ? group : "", context.validator);
}

}  // namespace

Socket::Socket(std::shared_ptr<ContextBase> context, SslPtr ssl, const SocketEnvironment& environment,
               std::unique_ptr<Client> client)
    : context_(std::move(context)),
      loop_(environment.loop),
      stats_(environment.stats),
      ssl_(std::move(ssl)),
      client_(std::move(client)) {
  wire_.blocks = &loop_.blocks();
  BIO* bio = make_bio(&wire_).release();
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  if (SSL_is_server(ssl_.get())) secrets_ = std::make_unique<TrafficSecrets>();
  log_keys_ = context_->key_log && context_->key_log->wants(environment.local, environment.remote);
}

Socket::~Socket() {
  if (!ssl_) return;
  // The library would forget the session of a connection that ends without close_notify. How it ended says nothing of the
  // session, unless TLS itself has failed.
  if (established_ && !failed_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_set_app_data(ssl_.get(), nullptr);
}

void Socket::start(Buffer& out) {
  if (SSL_is_server(ssl_.get())) return;
  clear_errors();
  wire_.out = &out;
  handshake(false);
  wire_.out = nullptr;
}

ext::TransportSocket::Status Socket::receive(Buffer& in, bool end_stream, Buffer& plain, Buffer& out) {
  if (failed_) return Status::failed;
  if (ended_) {
    in.clear();
    return Status::ended;
  }
  if (records_) return receive_records(in, end_stream, plain, out);
  clear_errors();  // whatever another connection's left there
  wire_.in = &in;
  wire_.out = &out;
  Status status = Status::ok;
  const size_t before = out.size();
  if (!established_ && handshake(end_stream) && established_) take_over(out, before);
  if (records_) {
    wire_.in = wire_.out = nullptr;
    return receive_records(in, end_stream, plain, out);
  }
  if (established_) read_all(plain, end_stream, status);
  if (failed_) status = Status::failed;
  if (status == Status::ended) {
    ended_ = true;
    in.clear();
  }
  if (status == Status::ok && pending_) flush_pending();
  wire_.in = wire_.out = nullptr;
  return status;
}

// From here on the library has nothing to do but to be large: tickets are sent (what of `out` is behind `before`), and what a
// client may still say is alerts and key updates. Its sessions are in the tickets, or in the context's cache.
void Socket::take_over(const Buffer& out, size_t before) {
  SSL* ssl = ssl_.get();
  const std::unique_ptr<TrafficSecrets> secrets = std::move(secrets_);
  if (!secrets || !secrets->complete() || SSL_version(ssl) != TLS1_3_VERSION || SSL_has_pending(ssl) ||
      wire_.left > 0)
    return;
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  records_ = RecordLayer::make({.suite = SSL_CIPHER_get_protocol_id(cipher),
                                .read_secret = secrets->client(),
                                .write_secret = secrets->server(),
                                .written = count_records(out, before)});
  if (!records_) return;
  info_ = info_of(ssl, ticket_chain_.get(), *context_);
  ticket_chain_.reset();
  SSL_set_app_data(ssl, nullptr);
  SSL_set_shutdown(ssl,
                   SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);  // else it takes the session for a bad one
  ssl_.reset();
}

ext::TransportSocket::Status Socket::receive_records(Buffer& in, bool end_stream, Buffer& plain,
                                                     Buffer& out) {
  switch (records_->open(in, plain, loop_.blocks(), out)) {
    case RecordLayer::Outcome::ok:
      break;
    case RecordLayer::Outcome::ended:
      ended_ = true;
      break;
    case RecordLayer::Outcome::failed:
      stats_.connection_error.add();
      fail(records_->failure());
      return Status::failed;
  }
  ended_ |= end_stream;  // Envoy does not hold it against the peer that close_notify is missing
  if (!ended_) return Status::ok;
  in.clear();
  return Status::ended;
}

bool Socket::handshake(bool end_stream) {
  LibraryScope scope;
  const int r = SSL_do_handshake(ssl_.get());
  if (r == 1) {
    on_established();
    return !failed_;
  }
  if (SSL_get_error(ssl_.get(), r) == SSL_ERROR_WANT_READ && !wire_.flooded) {
    if (!end_stream) return true;
    fail(std::string());  // the peer has gone: nothing that Envoy has words for
    return false;
  }
  fail();
  return false;
}

bool Socket::read_all(Buffer& plain, bool end_stream, Status& status) {
  Chunk chunk;
  SSL* ssl = ssl_.get();
  for (;;) {
    if (chunk.tail_room() < kLeastRoom) {
      plain.append(std::move(chunk));
      const size_t coming = std::max<size_t>(wire_.in->size(), 1);
      const bool bulk = coming > BlockPool::kLarge / 2;
      chunk = Chunk(
          loop_.blocks().get(bulk ? BlockPool::kLarge : std::min<size_t>(coming, BlockPool::kMedium)), 0, 0);
    }
    size_t got = 0;
    const int r = SSL_read_ex(ssl, chunk.data() + chunk.size(), chunk.tail_room(), &got);
    if (r == 1) {
      chunk.grow(static_cast<uint32_t>(got));
      wire_.quiet = 0;
      if (SSL_pending(ssl) == 0 && !wire_.readable()) break;
      continue;
    }
    const int error = SSL_get_error(ssl, r);
    if (error == SSL_ERROR_ZERO_RETURN) {
      status = Status::ended;
    } else if (wire_.flooded) {
      fail(own_error(260, "TOO_MANY_KEY_UPDATES"));
      stats_.connection_error.add();
    } else if (error != SSL_ERROR_WANT_READ) {
      fail();
    }
    break;
  }
  plain.append(std::move(chunk));
  // A FIN without close_notify ends the stream as well: Envoy does not hold it against the peer.
  if (end_stream && status == Status::ok && !failed_) status = Status::ended;
  return !failed_;
}

void Socket::send(Buffer& plain, size_t n, Buffer& out) {
  if (failed_ || shut_ || !established_) return plain.drain(n);
  if (records_) return records_->seal(plain, n, loop_.blocks(), out);
  clear_errors();
  wire_.out = &out;
  uint8_t scratch[kRecord];
  while (n > 0) {
    const Chunk& front = plain.chunk(0);
    const size_t size = std::min(n, kRecord);
    // Short pieces go into one record together; long ones as they are, without a copy.
    if (front.size() >= size || front.size() >= kRecord / 2) {
      const size_t piece = std::min<size_t>(size, front.size());
      write_record(front.data(), piece);
      plain.drain(piece);
      n -= piece;
      continue;
    }
    size_t filled = 0;
    while (filled < size) {
      const Chunk& c = plain.chunk(0);
      const size_t piece = std::min<size_t>(size - filled, c.size());
      std::memcpy(scratch + filled, c.data(), piece);
      filled += piece;
      plain.drain(piece);
    }
    write_record(scratch, filled);
    n -= filled;
  }
  wire_.out = nullptr;
}

void Socket::write_record(const uint8_t* data, size_t n) {
  if (failed_) return;
  size_t put = 0;
  if (!pending_ && SSL_write_ex(ssl_.get(), data, n, &put) == 1) return;
  if (!pending_ && SSL_get_error(ssl_.get(), 0) != SSL_ERROR_WANT_READ) return fail();
  // The server renegotiates: what is to be sent waits for its next words.
  if (!pending_) pending_ = std::make_unique<Buffer>();
  pending_->append(loop_.blocks(), {reinterpret_cast<const char*>(data), n});
}

void Socket::flush_pending() {
  if (SSL_in_init(ssl_.get())) return;
  std::unique_ptr<Buffer> pending = std::move(pending_);
  while (!pending->empty()) {
    const Chunk& c = pending->chunk(0);
    write_record(c.data(), std::min<size_t>(c.size(), kRecord));
    pending->drain(std::min<size_t>(c.size(), kRecord));
  }
}

void Socket::end(Buffer& out) {
  if (failed_ || shut_ || !established_) return;
  shut_ = true;
  if (records_) return records_->close_notify(loop_.blocks(), out);
  clear_errors();
  wire_.out = &out;
  SSL_shutdown(ssl_.get());
  wire_.out = nullptr;
  clear_errors();
}

// ---- the kernel writes the records ----

bool Socket::kernel_keys(io::KernelTlsKeys& keys) {
  return records_ && !failed_ && records_->kernel_keys(keys);
}

void Socket::on_kernel_keys(bool taken) {
  stats_.kernel.count(taken ? "tx" : "tx_refused");
  if (taken) records_->leave_writing(loop_.kernel_tls()->renews());
}

void Socket::on_kernel_sequence(uint64_t sequence) {
  records_->on_kernel_sequence(sequence);
}

std::string_view Socket::key_update() const {
  return records_->key_update();
}

void Socket::on_key_update_sent() {
  stats_.kernel.count("tx_rekey");
  records_->on_key_update_sent();
}

void Socket::on_renewal_failed(Buffer& out) {
  stats_.kernel.count("tx_rekey_refused");
  records_->on_renewal_failed(loop_.blocks(), out);
  fail(records_->failure());
}

void Socket::fail(std::string text) {
  failed_ = true;
  failure_ = std::move(text);
  clear_errors();
}

void Socket::fail() {
  const QueuedErrors errors = take_errors();
  std::string text = errors.text;
  if (errors.no_client_certificate) stats_.fail_verify_no_cert.add();
  if (errors.verify_failed && !failure_.empty()) {
    text += ':' + failure_;
  } else if (errors.no_client_certificate) {
    text += ":peer did not provide required client certificate";
  }
  if (errors.any) text += ":TLS_error_end";
  if (errors.any && !errors.counted) stats_.connection_error.add();
  fail(std::move(text));
}

void Socket::on_established() {
  SSL* ssl = ssl_.get();
  const bool server = SSL_is_server(ssl);
  X509* peer = SSL_get0_peer_certificate(ssl);
  // A session of the server's cache: its certificate may have expired since. (One of a ticket was looked at before.)
  if (server && SSL_session_reused(ssl) && !ticket_checked_ && peer && context_->validator) {
    const auto verdict = context_->validator->verify(request(peer, SSL_get_peer_cert_chain(ssl)));
    if (!verdict.accepted) {
      if (verdict.counter) (stats_.*verdict.counter).add();
      std::string text = own_error(125, "CERTIFICATE_VERIFY_FAILED");
      text.insert(text.rfind(":TLS_error_end"), ":" + verdict.detail);
      return fail(std::move(text));
    }
  }
  established_ = true;
  failure_.clear();
  wire_.quiet = 0;
  wire_.quiet_limit = kQuietRecords;
  if (client_) {
    // With TLS 1.2 the library does not tell of a ticket that was renewed.
    if (SSL_session_reused(ssl) && SSL_version(ssl) < TLS1_3_VERSION) {
      SessionPtr session(SSL_get1_session(ssl));
      if (context_->keep_session(client_->session_key, session.get())) (void)session.release();
    }
    // A server that may renegotiate is verified again.
    if (SSL_get_options(ssl) & SSL_OP_NO_RENEGOTIATION) {
      client_->names = {};
      if (client_->session_key.empty()) client_.reset();
    }
  }
  count_handshake();
}

void Socket::count_handshake() {
  SSL* ssl = ssl_.get();
  stats_.handshake.add();
  if (SSL_session_reused(ssl)) stats_.session_reused.add();
  stats_.ciphers.count(SSL_get_cipher_name(ssl));
  stats_.versions.count(SSL_get_version(ssl));
  if (const char* curve = curve_name(static_cast<int>(SSL_get_negotiated_group(ssl))))
    stats_.curves.count(curve);
  if (const std::string name = signature_name(ssl); !name.empty()) stats_.sigalgs.count(name);
  X509* peer = SSL_get0_peer_certificate(ssl);
  if (!peer) stats_.no_certificate.add();
}

Validator::Request Socket::request(X509* leaf, STACK_OF(X509) * chain) {
  const bool server = SSL_is_server(ssl_.get());
  const char* sni =
      context_->auto_sni_san ? SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name) : nullptr;
  return {.leaf = leaf,
          .chain = chain,
          .of_client = server,
          .now = now(),
          .names = client_ ? &client_->names : nullptr,
          .sni = sni ? sni : ""};
}

int Socket::on_verify(X509_STORE_CTX* store, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  Socket& self = of(ssl);
  X509* leaf = X509_STORE_CTX_get0_cert(store);
  if (!SSL_is_server(ssl) && leaf && EVP_PKEY_get_base_id(X509_get0_pubkey(leaf)) == EVP_PKEY_RSA) {
    // What an RSA key may do: sign, or (without ECDHE) decrypt. RFC 5280 section 4.2.1.3.
    const SSL_CIPHER* cipher = SSL_get_pending_cipher(ssl);
    const uint32_t needed =
        cipher && SSL_CIPHER_get_kx_nid(cipher) == NID_kx_rsa ? KU_KEY_ENCIPHERMENT : KU_DIGITAL_SIGNATURE;
    if (self.context_->enforce_rsa_key_usage && !(X509_get_key_usage(leaf) & needed)) {
      self.failure_ = "KEY_USAGE_BIT_INCORRECT";
      X509_STORE_CTX_set_error(store, X509_V_ERR_KEYUSAGE_NO_CERTSIGN);
      return 0;
    }
  }
  if (!self.context_->validator) {
    // Nobody asked for more than a certificate, or for none: any is taken, and none counts as validated.
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
    return 1;
  }
  const auto verdict =
      self.context_->validator->verify(self.request(leaf, X509_STORE_CTX_get0_untrusted(store)));
  clear_errors();  // those of building chains
  if (verdict.counter) (self.stats_.*verdict.counter).add();
  self.failure_ = verdict.detail;
  // The alert is made of this: Envoy's says expired of what is not valid yet, too.
  const int error =
      verdict.error == X509_V_ERR_CERT_NOT_YET_VALID ? X509_V_ERR_CERT_HAS_EXPIRED : verdict.error;
  X509_STORE_CTX_set_error(store, verdict.validated ? X509_V_OK : error ? error : X509_V_ERR_CERT_UNTRUSTED);
  return verdict.accepted ? 1 : 0;
}

void Socket::on_key_log(const SSL* ssl, const char* line) {
  Socket& self = of(ssl);
  if (self.secrets_) self.secrets_->note(line);
  if (self.log_keys_) self.context_->key_log->write(line);
}

int Socket::on_session(SSL* ssl, SSL_SESSION* session) {
  Socket& self = of(ssl);
  return self.client_ && self.context_->keep_session(self.client_->session_key, session) ? 1 : 0;
}

std::string_view Socket::application_protocol() const {
  if (!ssl_) return info_->alpn();
  const unsigned char* name = nullptr;
  unsigned n = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &n);
  return {reinterpret_cast<const char*>(name), n};
}

ext::TlsInfoPtr Socket::tls_info() const {
  if (!info_ && established_) info_ = info_of(ssl_.get(), ticket_chain_.get(), *context_);
  return info_;
}

}  // namespace sluice::tls
