#pragma once

#include <string>
#include <string_view>

namespace sluice {

// Digests for names and fingerprints that others have defined by them (JA3 is an MD5, JA4 holds SHA-256). Nothing secret
// goes through here, and nothing is trusted because of one: what has to do with security is in tls/.

std::string md5_hex(std::string_view bytes);  // RFC 1321; 32 lower-case digits
std::string sha256_hex(std::string_view bytes);  // FIPS 180-4; 64 lower-case digits

}  // namespace sluice
