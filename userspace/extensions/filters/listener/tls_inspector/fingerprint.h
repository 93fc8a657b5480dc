#pragma once

#include <string>

#include "extensions/filters/listener/tls_inspector/client_hello.h"

namespace sluice::extensions::tls_inspector {

// JA3, an MD5 in hexadecimal digits. As Envoy makes it: GREASE (RFC 8701) is left out of ciphers and extensions, not of
// groups. https://github.com/salesforce/ja3
std::string ja3(const ClientHello& hello);
std::string ja3_text(const ClientHello& hello);  // what is hashed: "771,4865-49199,0-16,29-23,0"

// JA4, "t13d1516h2_8daaf6152771_02713d6af862". https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md
std::string ja4(const ClientHello& hello);

}  // namespace sluice::extensions::tls_inspector
