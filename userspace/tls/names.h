#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sluice/ext/tls_info.h"
#include "tls/openssl.h"
#include "tls/secret.h"

// What certificates say, in Envoy's words.
namespace sluice::tls {

// The SAN extension; null: there is none.
NamesPtr alternative_names(X509* certificate);
// Envoy's text of one name: addresses in their usual notation, the value of an otherName.
std::string to_text(const GENERAL_NAME* name);
std::vector<std::string> names_of(X509* certificate, int type);  // GEN_DNS, …
std::vector<std::string> all_names_of(X509* certificate);
std::string names_for_log(X509* certificate);  // all, comma separated; printable, and not without end
std::string common_name(X509* certificate);  // the first of the subject; "": none

// `pattern` of a certificate for `name`: without case, "*" within the leftmost label alone (RFC 6125 section 6.4).
bool dns_matches(std::string_view name, std::string_view pattern);
// `oid`: the object of matcher.oid, which was checked when it was configured; null unless it has one.
bool matches(const SanMatcher& matcher, const ASN1_OBJECT* oid, const GENERAL_NAME* name);

std::string serial_of(X509* certificate);
std::string pem_of(X509* certificate);
ext::CertificateInfo describe(X509* certificate);

}  // namespace sluice::tls
