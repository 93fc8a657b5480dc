#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::extensions::tls_inspector {

// A ClientHello (RFC 8446 section 4.1.2), as far as anybody asks. The views look into what it was read from.
struct ClientHello {
  uint16_t version = 0;  // legacy_version
  std::string_view ciphers;  // two bytes each, at least one
  std::string_view extensions;  // one behind the other: type, length, data; well-formed, no type twice
  std::string_view server_name;  // as the client wrote it; "": none

  std::optional<std::string_view> extension(uint16_t type) const;
  // Empty where there are none, or where the list is broken: to refuse that is up to the TLS stack.
  std::vector<std::string> application_protocols() const;
};

// Why bytes are no ClientHello: BoringSSL's number and name of it, which Envoy writes into the access log.
struct Refusal {
  uint16_t number = 0;
  std::string_view name;
  std::string text()
      const;  // "TLS_error|error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"
};

// Finds the ClientHello at the front of a connection, in any pieces: over segments, over records, or in the form of
// SSLv2 (RFC 5246 appendix E.2). Sans-IO, no allocation unless a message spans records. What it takes and refuses is what
// BoringSSL's server does up to its early callback, because that is what Envoy's inspector runs.
class HelloReader {
 public:
  enum class Result : uint8_t {
    need_more,
    hello,
    refused,  // see refusal()
    closed,  // the client has ended TLS (close_notify) before it began
  };
  // `bytes`: all that has come so far, from the first, never less than the last time. After anything but need_more there is
  // nothing left to read.
  Result read(std::string_view bytes);

  const ClientHello& hello() const { return hello_; }  // views into `bytes` of that call, and into this
  const Refusal& refusal() const { return refusal_; }
  size_t consumed() const { return consumed_; }  // how far into the bytes the answer has taken

 private:
  Result refuse(uint16_t number, std::string_view name);
  Result read_record(std::string_view bytes);
  Result read_sslv2(std::string_view bytes);
  Result read_alert(std::string_view body);
  Result read_message(std::string_view message);
  bool parse(std::string_view body);

  size_t at_ = 0;  // where the first record begins that has not been taken
  size_t consumed_ = 0;
  bool first_ = true;  // no record has been seen
  uint8_t empty_records_ = 0, warnings_ = 0;
  std::string message_;  // handshake bytes of records before `at_`
  ClientHello hello_;
  Refusal refusal_;
};

}  // namespace sluice::extensions::tls_inspector
