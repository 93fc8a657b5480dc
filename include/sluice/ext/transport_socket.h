#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/buffer.h"
#include "core/stats.h"
#include "io/loop.h"
#include "sluice/ext/tls_info.h"

namespace sluice::io {
struct KernelTlsKeys;
}

namespace sluice::ext {

class UpstreamHost;
struct StreamInfo;

// What stands between a connection's socket and its handler: TLS, or a PROXY header. Sans-IO: it turns bytes of the wire
// into bytes of the application and back; the connection does the rest. One object a connection; its callbacks are the
// loop's thread's.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/security/ssl
class TransportSocket {
 public:
  enum class Status : uint8_t {
    ok,
    ended,  // the peer will say nothing more (close_notify, or `end_stream` and nothing left)
    failed,  // see failure(); `out` may hold an alert that is to go out before the connection is closed
  };

  virtual ~TransportSocket() = default;
  // The socket stands: what we say first, before the peer has said anything, goes to `out`.
  virtual void start(Buffer& out) = 0;
  // `in`: all that came and was not taken; what cannot be used yet stays in it. The application's bytes are appended to
  // `plain`, what is to be answered to `out`. end_stream: the peer's FIN is behind `in`.
  virtual Status receive(Buffer& in, bool end_stream, Buffer& plain, Buffer& out) = 0;
  // Handshakes are over: send() may be called. Never false again.
  virtual bool established() const = 0;
  // Takes `n` bytes off the front of `plain` (n <= its size) and appends what they are on the wire to `out`.
  virtual void send(Buffer& plain, size_t n, Buffer& out) = 0;
  // The application says nothing more (TLS: close_notify).
  virtual void end(Buffer& out) = 0;
  // Envoy's text: "TLS_error:|<code>:<library>:<function>:<reason>:TLS_error_end"; "": no failure.
  virtual const std::string& failure() const = 0;
  // ---- the kernel writes the records (io/kernel_tls.h) ----
  // What it must know to write the next one; `out` of the calls before must have been sent. False: it cannot write this
  // connection's.
  virtual bool kernel_keys(io::KernelTlsKeys&) { return false; }
  // Whether it has taken them for the first time. If so, what the application sends goes to it without send(), and what
  // receive() and end() append to `out` are alerts (RFC 8446 section 6), two bytes each, to be sent as such records.
  virtual void on_kernel_keys(bool /*taken*/) {}
  // It has come to this sequence number under the present keys. To be told at least every 2^20 records.
  virtual void on_kernel_sequence(uint64_t) {}
  // A handshake message that must go before the application's next byte; empty: none. Once it has gone,
  // on_key_update_sent(), and kernel_keys() are those of the next record.
  virtual std::string_view key_update() const { return {}; }
  virtual void on_key_update_sent() {}
  // The kernel cannot have the next keys: the connection has failed. `out`: as above, as long as the old ones hold.
  virtual void on_renewal_failed(Buffer& /*out*/) {}

  virtual bool secure() const { return false; }  // TLS, or on the way to it
  virtual TlsInfoPtr tls_info() const { return nullptr; }  // after established(); null: not TLS
  virtual std::string_view application_protocol() const { return {}; }  // ALPN; "": none
};
using TransportSocketPtr = std::unique_ptr<TransportSocket>;

// What a worker's transport sockets of one configuration share.
struct TransportScope {
  stats::Scope stats;  // "listener.<address>." or "cluster.<name>."
  io::Loop& loop;
};

// The server's side: a filter chain's transport_socket on one worker.
class DownstreamTransport {
 public:
  // The workload whose connection it is: its network namespace's cookie; 0: the proxy itself.
  struct Request {
    uint64_t workload = 0;
    const Address* local =
        nullptr;  // of the connection, for a key log's filters; only looked at now; may be null
    const Address* remote = nullptr;
  };
  virtual ~DownstreamTransport() = default;
  // Null: no connection can be served at present, as `failure` says (a secret is missing): it is to be closed.
  virtual TransportSocketPtr make(const Request& request, std::string& failure) = 0;
  // A workload has gone: nothing of its identity stays.
  virtual void forget_workload(uint64_t /*workload*/) {}
};
using DownstreamTransportFactory =
    std::function<std::unique_ptr<DownstreamTransport>(const TransportScope& scope)>;

// What one request wants of the connection that carries it. Connections are shared among equal wants only.
struct UpstreamTransportOptions {
  std::string server_name = {};  // auto_sni: SNI; "": as configured
  std::vector<std::string> verify_names =
      {};  // auto_san_validation: instead of the configured SAN matchers, exact
  std::vector<std::string> alpn = {};  // instead of the configured protocols; empty: those
  friend bool operator==(const UpstreamTransportOptions&, const UpstreamTransportOptions&) = default;
};

// The client's side: a cluster's transport_socket, or one of its transport_socket_matches, on one thread.
class UpstreamTransport {
 public:
  struct Request {
    uint64_t workload = 0;  // as downstream
    const UpstreamHost* host = nullptr;  // may be null
    const UpstreamTransportOptions* options = nullptr;  // may be null
    const std::vector<std::string>* alpn_fallback =
        nullptr;  // where neither options nor configuration say any; or null
    const StreamInfo* downstream =
        nullptr;  // for sharing_key(); null: nobody's (a health check, a control plane)
    std::string_view sharing_key = {};  // for make(): what sharing_key() gave
  };
  virtual ~UpstreamTransport() = default;
  // Null: no connection can be made at present, as `failure` says.
  virtual TransportSocketPtr make(const Request& request, std::string& failure) = 0;
  // What of the request beside workload, host and options its sockets depend on, as make() wants it (a PROXY header): such
  // connections are shared only where this is equal, and made when the request may be gone. "": nothing.
  virtual std::string sharing_key(const Request&) const { return {}; }
  virtual bool secure() const { return true; }  // TLS: x-forwarded-proto and :scheme say https
  virtual void forget_workload(uint64_t /*workload*/) {}
};
using UpstreamTransportFactory =
    std::function<std::unique_ptr<UpstreamTransport>(const TransportScope& scope)>;

}  // namespace sluice::ext
