#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tls/identity.h"
#include "tls/settings.h"
#include "tls/stats.h"

namespace sluice::tls {

// Which of a server's certificates a client is shown: by its SNI, by what kinds of keys it takes, and by what is stapled.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/security/ssl#certificate-selection
class Selector {
 public:
  enum class Staple : uint8_t { yes, no, not_asked, fail };
  struct Choice {
    size_t certificate = 0;
    Staple staple = Staple::not_asked;
  };
  // What a ClientHello says of it. RFC 8446 section 4.1.2.
  struct Hello {
    std::string_view server_name;
    std::vector<int>
        curves;  // those of ECDSA certificates that the client takes, NID_…; none: it takes no ECDSA at all
    bool wants_staple = false;
    bool names_signatures = false;  // it has signature_algorithms
    bool takes_tickets =
        true;  // of TLS 1.3, as we make them: with a fresh key exchange (RFC 8446 section 4.2.9)
  };

  // Both must outlive it.
  Selector(const std::vector<Identity>& identities, const ServerSettings& settings);
  Choice choose(const Hello& hello, WallTime now) const;

  static Hello read(SSL* ssl);  // in the library's ClientHello callback

 private:
  Staple staple(const Identity& identity, const Hello& hello, WallTime now) const;

  const std::vector<Identity>& identities_;
  const ServerSettings& settings_;
  // A name, or "*.example.com" without its "*": the certificates of that name, one of a key's kind, the first first.
  std::map<std::string, std::vector<size_t>, std::less<>> names_;
  bool has_rsa_ = false;
};

}  // namespace sluice::tls
