#include "tls/errors.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cctype>

namespace sluice::tls {
namespace {

// Envoy shows BoringSSL's numbers and names, and operators search for them. Where both libraries know the same reason its
// number in BoringSSL stands here; alerts (1000 and up) have the same one in both. The others keep OpenSSL's number.
struct Reason {
  int openssl;
  unsigned boring;
  const char* name;  // null: OpenSSL's text in capitals is the same
};
constexpr Reason kReasons[] = {
    {SSL_R_APP_DATA_IN_HANDSHAKE, 100, nullptr},
    {SSL_R_BAD_CHANGE_CIPHER_SPEC, 103, nullptr},
    {SSL_R_BAD_ECPOINT, 108, nullptr},
    {SSL_R_BAD_LENGTH, 111, nullptr},
    {SSL_R_BAD_PACKET, 112, "BAD_PACKET_LENGTH"},
    {SSL_R_BAD_SIGNATURE, 114, nullptr},
    {SSL_R_CA_DN_LENGTH_MISMATCH, 122, nullptr},
    {SSL_R_CCS_RECEIVED_EARLY, 124, nullptr},
    {SSL_R_CERTIFICATE_VERIFY_FAILED, 125, nullptr},
    {SSL_R_CERT_CB_ERROR, 126, nullptr},
    {SSL_R_CERT_LENGTH_MISMATCH, 127, nullptr},
    {SSL_R_CLIENTHELLO_TLSEXT, 132, nullptr},
    {SSL_R_CALLBACK_FAILED, 133, "CONNECTION_REJECTED"},
    {SSL_R_DATA_LENGTH_TOO_LONG, 136, nullptr},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, 139, nullptr},
    {SSL_R_DIGEST_CHECK_FAILED, 142, nullptr},
    {SSL_R_ENCRYPTED_LENGTH_TOO_LONG, 146, nullptr},
    {SSL_R_EXCESSIVE_MESSAGE_SIZE, 150, nullptr},
    {SSL_R_HTTPS_PROXY_REQUEST, 155, nullptr},
    {SSL_R_HTTP_REQUEST, 156, nullptr},
    {SSL_R_INAPPROPRIATE_FALLBACK, 157, nullptr},
    {SSL_R_LENGTH_MISMATCH, 137, "DECODE_ERROR"},
    {SSL_R_NO_CIPHERS_SPECIFIED, 262, nullptr},
    {SSL_R_NO_CIPHER_MATCH, 177, nullptr},
    {SSL_R_NO_RENEGOTIATION, 182, nullptr},
    {SSL_R_NO_SHARED_CIPHER, 184, nullptr},
    {SSL_R_NO_SHARED_GROUPS, 266, "NO_SHARED_GROUP"},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, 253, "NO_COMMON_SIGNATURE_ALGORITHMS"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, 253, "NO_COMMON_SIGNATURE_ALGORITHMS"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, 266, "NO_SHARED_GROUP"},
    {SSL_R_PACKET_LENGTH_TOO_LONG, 146, "ENCRYPTED_LENGTH_TOO_LONG"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, 192, nullptr},
    {SSL_R_RECORD_LENGTH_MISMATCH, 199, nullptr},
    {SSL_R_RECORD_TOO_SMALL, 137, "DECODE_ERROR"},
    {SSL_R_RENEGOTIATION_ENCODING_ERR, 201, nullptr},
    {SSL_R_RENEGOTIATION_MISMATCH, 202, nullptr},
    {SSL_R_SESSION_ID_CONTEXT_UNINITIALIZED, 208, nullptr},
    {SSL_R_TOO_MANY_KEY_UPDATES, 260, nullptr},
    {SSL_R_TOO_MANY_WARN_ALERTS, 220, "TOO_MANY_WARNING_ALERTS"},
    {SSL_R_UNEXPECTED_MESSAGE, 223, nullptr},
    {SSL_R_UNEXPECTED_RECORD, 225, nullptr},
    {SSL_R_UNKNOWN_ALERT_TYPE, 227, nullptr},
    {SSL_R_UNKNOWN_PROTOCOL, 233, nullptr},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, 236, nullptr},
    {SSL_R_UNSUPPORTED_PROTOCOL, 240, nullptr},
    {SSL_R_VERSION_TOO_LOW, 240, "UNSUPPORTED_PROTOCOL"},
    {SSL_R_VERSION_TOO_HIGH, 240, "UNSUPPORTED_PROTOCOL"},
    {SSL_R_WRONG_CIPHER_RETURNED, 242, nullptr},
    {SSL_R_WRONG_CURVE, 243, nullptr},
    {SSL_R_WRONG_SIGNATURE_TYPE, 245, nullptr},
    {SSL_R_WRONG_SSL_VERSION, 246, nullptr},
    {SSL_R_WRONG_VERSION_NUMBER, 247, nullptr},
};
constexpr unsigned kBoringLibrary = 16;  // ERR_LIB_SSL there

std::string in_capitals(const char* text) {
  std::string s(text ? text : "UNKNOWN");
  for (char& c : s) c = c == ' ' || c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<uint8_t>(c)));
  return s;
}

// <code>:<library>:<function>:<reason>
std::string describe(unsigned long e) {
  const int reason = ERR_GET_REASON(e);
  const char* text = ERR_reason_error_string(e);
  if (ERR_GET_LIB(e) == ERR_LIB_SSL) {
    const auto* r = std::find_if(std::begin(kReasons), std::end(kReasons),
                                 [&](const Reason& x) { return x.openssl == reason; });
    const bool known = r != std::end(kReasons);
    return fmt::format("{}:SSL routines:OPENSSL_internal:{}",
                       kBoringLibrary << 24 | (known ? r->boring : static_cast<unsigned>(reason)),
                       known && r->name ? r->name : in_capitals(text));
  }
  if (ERR_GET_LIB(e) == ERR_LIB_X509) {  // BoringSSL calls it otherwise and numbers it 11 too
    return fmt::format("{}:X.509 certificate routines:OPENSSL_internal:{}", 11u << 24 | reason,
                       in_capitals(text));
  }
  const char* library = ERR_lib_error_string(e);
  return fmt::format("{}:{}:OPENSSL_internal:{}", e, library ? library : "", in_capitals(text));
}

}  // namespace

QueuedErrors take_errors() {
  QueuedErrors q;
  while (const unsigned long e = ERR_get_error()) {
    q.any = true;
    const int reason = ERR_GET_REASON(e);
    if (ERR_GET_LIB(e) == ERR_LIB_SSL) {
      if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) q.counted = q.no_client_certificate = true;
      if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) q.counted = q.verify_failed = true;
    } else if (ERR_GET_LIB(e) == ERR_LIB_SYS) {
      q.counted = true;
    }
    if (q.text.empty()) q.text = "TLS_error:";
    q.text += '|';
    q.text += describe(e);
  }
  return q;
}

void clear_errors() {
  ERR_clear_error();
}

std::string first_error() {
  const unsigned long e = ERR_get_error();
  ERR_clear_error();
  if (!e) return "unknown";
  const std::string s = describe(e);
  const size_t colon = s.find(':');
  return fmt::format("error:{:08x}{}", std::stoul(s.substr(0, colon)), s.substr(colon));
}

std::string alert_error(uint8_t alert) {
  return "TLS_error:|" + describe(ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + alert)) + ":TLS_error_end";
}

std::string own_error(unsigned reason, std::string_view name) {
  return fmt::format("TLS_error:|{}:SSL routines:OPENSSL_internal:{}:TLS_error_end",
                     kBoringLibrary << 24 | reason, name);
}

}  // namespace sluice::tls
