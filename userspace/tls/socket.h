#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/ext/transport_socket.h"
#include "tls/bio.h"
#include "tls/context.h"
#include "tls/context_base.h"
#include "tls/record_layer.h"

namespace sluice::tls {

// One TLS connection, of either side.
class Socket final : public ext::TransportSocket {
 public:
  // Of a client alone.
  struct Client {
    std::vector<std::string> names;  // ConnectOptions::verify_names
    std::string session_key;
  };

  // The library's object must come from one of `context`'s library contexts, and know which side it is.
  Socket(std::shared_ptr<ContextBase> context, SslPtr ssl, const SocketEnvironment& environment,
         std::unique_ptr<Client> client);
  ~Socket() override;

  void start(Buffer& out) override;
  Status receive(Buffer& in, bool end_stream, Buffer& plain, Buffer& out) override;
  bool established() const override { return established_; }
  void send(Buffer& plain, size_t n, Buffer& out) override;
  void end(Buffer& out) override;
  bool kernel_keys(io::KernelTlsKeys& keys) override;
  void on_kernel_keys(bool taken) override;
  void on_kernel_sequence(uint64_t sequence) override;
  std::string_view key_update() const override;
  void on_key_update_sent() override;
  void on_renewal_failed(Buffer& out) override;
  const std::string& failure() const override { return failure_; }
  bool secure() const override { return true; }
  ext::TlsInfoPtr tls_info() const override;
  std::string_view application_protocol() const override;

  // The library's callbacks.
  static Socket& of(const SSL* ssl) { return *static_cast<Socket*>(SSL_get_app_data(ssl)); }
  static int on_verify(X509_STORE_CTX* store, void*);
  static void on_key_log(const SSL* ssl, const char* line);
  static int on_session(SSL* ssl, SSL_SESSION* session);

  ContextBase& context() { return *context_; }
  Stats& stats() { return stats_; }
  WallTime now() { return loop_.wall_now(); }
  Validator::Request request(X509* leaf, STACK_OF(X509) * chain);
  // For the server's callbacks: a ticket's certificate has been looked at again; an OCSP response is to be stapled.
  void set_ticket_checked(X509sPtr chain) {
    ticket_checked_ = true;
    ticket_chain_ = std::move(chain);
  }
  void set_staple(bool staple) { staple_ = staple; }
  bool staple() const { return staple_; }

 private:
  bool handshake(bool end_stream);  // false: it has failed
  void on_established();
  void take_over(const Buffer& out, size_t before);
  Status receive_records(Buffer& in, bool end_stream, Buffer& plain, Buffer& out);
  bool read_all(Buffer& plain, bool end_stream, Status& status);
  void write_record(const uint8_t* data, size_t n);
  void flush_pending();
  void fail();
  void fail(std::string text);
  void count_handshake();
  void check_key_usage(X509* leaf);

  std::shared_ptr<ContextBase> context_;
  io::Loop& loop_;
  Stats& stats_;
  Wire wire_;
  SslPtr ssl_;  // null: records_ has taken over
  std::unique_ptr<TrafficSecrets> secrets_;  // of a server that shakes hands
  std::unique_ptr<RecordLayer> records_;  // of a server, with TLS 1.3, once it is established
  std::unique_ptr<Client> client_;
  std::string failure_;  // while the handshake goes on: why a certificate was refused
  mutable ext::TlsInfoPtr info_;
  std::unique_ptr<Buffer> pending_;  // what could not be sent while the server renegotiates
  bool established_ = false;
  bool failed_ = false;
  bool ended_ = false;  // the peer has said close_notify, or FIN
  bool shut_ = false;  // we have
  bool log_keys_ = false;
  bool ticket_checked_ = false;
  X509sPtr ticket_chain_;  // until info_ is made
  bool staple_ = false;
};

}  // namespace sluice::tls
