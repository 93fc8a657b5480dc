#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::tls {

// What the library's error queue of this thread held; it is empty afterwards.
struct QueuedErrors {
  std::string
      text;  // "TLS_error:|<code>:<library>:<function>:<reason>|…", in Envoy's form; "": there was none
  bool any = false;
  bool counted = false;  // one of them has a counter of its own
  bool verify_failed = false;  // CERTIFICATE_VERIFY_FAILED
  bool no_client_certificate = false;
};
QueuedErrors take_errors();
void clear_errors();

// The first reason of the queue for a configuration's error text, "error:<code>:<library>:<function>:<reason>"; the queue
// is empty afterwards. Names no contents of a secret.
std::string first_error();

// "TLS_error:|<code>:SSL routines:OPENSSL_internal:<NAME>:TLS_error_end": an error of ours by BoringSSL's number.
std::string own_error(unsigned reason, std::string_view name);

// The same of a fatal alert that the peer has sent.
std::string alert_error(uint8_t alert);

}  // namespace sluice::tls
