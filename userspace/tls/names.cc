#include "tls/names.h"

#include <openssl/bn.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "core/address.h"
#include "core/ascii.h"

namespace sluice::tls {
namespace {

std::string ip_text(std::string_view bytes) {
  if (bytes.size() == 4) {
    uint32_t be;
    std::memcpy(&be, bytes.data(), 4);
    return IpAddress::v4(be).to_string();
  }
  if (bytes.size() == 16) {
    std::array<uint8_t, 16> six;
    std::memcpy(six.data(), bytes.data(), 16);
    return IpAddress::v6(six).to_string();
  }
  return {};
}

std::string number_text(BIGNUM* n, char* (*print)(const BIGNUM*)) {
  char* text = n ? print(n) : nullptr;
  BN_free(n);
  if (!text) return {};
  std::string s(text);
  OPENSSL_free(text);
  return s;
}

std::string oid_text(const ASN1_OBJECT* object) {
  char text[256];
  const int n = OBJ_obj2txt(text, sizeof text, object, 1);
  return n > 0 && n < static_cast<int>(sizeof text) ? std::string(text) : std::string();
}

std::string other_text(const ASN1_TYPE* value) {
  if (!value) return {};
  switch (value->type) {
    case V_ASN1_NULL:
      return {};
    case V_ASN1_BOOLEAN:
      return value->value.boolean ? "true" : "false";
    case V_ASN1_INTEGER:
      return number_text(ASN1_INTEGER_to_BN(value->value.integer, nullptr), BN_bn2dec);
    case V_ASN1_ENUMERATED:
      return number_text(ASN1_ENUMERATED_to_BN(value->value.enumerated, nullptr), BN_bn2dec);
    case V_ASN1_OBJECT:
      return oid_text(value->value.object);
    case V_ASN1_BMPSTRING:
    case V_ASN1_UNIVERSALSTRING: {
      unsigned char* utf8 = nullptr;
      const int n = ASN1_STRING_to_UTF8(&utf8, value->value.asn1_string);
      if (n < 0) return {};
      std::string s(reinterpret_cast<char*>(utf8), static_cast<size_t>(n));
      OPENSSL_free(utf8);
      return s;
    }
    default:
      return std::string(view(value->value.asn1_string));
  }
}

bool label_matches(std::string_view label, std::string_view pattern) {
  if (pattern == "*") return true;
  const size_t star = pattern.find('*');
  if (star == pattern.npos || pattern.find('*', star + 1) != pattern.npos) return false;
  return pattern.size() <= label.size() + 1 && label.starts_with(pattern.substr(0, star)) &&
         label.ends_with(pattern.substr(star + 1));
}

std::string name_text(const X509_NAME* name) {
  BioPtr out(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253);
  return to_text(out.get());
}

}  // namespace

NamesPtr alternative_names(X509* certificate) {
  return NamesPtr(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

std::string to_text(const GENERAL_NAME* name) {
  switch (name->type) {
    case GEN_DNS:
    case GEN_URI:
    case GEN_EMAIL:
      return std::string(view(name->d.ia5));
    case GEN_IPADD:
      return ip_text(view(name->d.ip));
    case GEN_OTHERNAME:
      return other_text(name->d.otherName->value);
    default:
      return {};
  }
}

std::vector<std::string> names_of(X509* certificate, int type) {
  std::vector<std::string> out;
  NamesPtr names = alternative_names(certificate);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    if (n->type == type) out.push_back(to_text(n));
  }
  return out;
}

std::vector<std::string> all_names_of(X509* certificate) {
  std::vector<std::string> out;
  NamesPtr names = alternative_names(certificate);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i)
    out.push_back(to_text(sk_GENERAL_NAME_value(names.get(), i)));
  return out;
}

std::string names_for_log(X509* certificate) {
  constexpr size_t kLongest = 2048;
  std::string out;
  for (const std::string& name : all_names_of(certificate)) {
    if (!out.empty()) out += ", ";
    for (const char c : name) out += std::isprint(static_cast<uint8_t>(c)) ? c : '?';
    if (out.size() > kLongest) return out.substr(0, kLongest) + "...";
  }
  return out;
}

std::string common_name(X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = subject ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
  if (at < 0) return {};
  return std::string(view(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
}

bool dns_matches(std::string_view name, std::string_view pattern) {
  const std::string n = to_lower(name), p = to_lower(pattern);
  if (n == p) return true;
  const size_t dot_n = n.find('.'), dot_p = p.find('.');
  if (dot_n == n.npos || dot_p == p.npos) return false;
  const std::string_view label = std::string_view(p).substr(0, dot_p),
                         rest = std::string_view(p).substr(dot_p + 1);
  // A "*" in an A-label ("xn--") is no wildcard.
  if (label.find('*') == label.npos || rest.find('*') != rest.npos || label.starts_with("xn--")) return false;
  return std::string_view(n).substr(dot_n + 1) == rest &&
         label_matches(std::string_view(n).substr(0, dot_n), label);
}

bool matches(const SanMatcher& matcher, const ASN1_OBJECT* oid, const GENERAL_NAME* name) {
  using Type = SanMatcher::Type;
  auto is = [&](int type) {
    switch (matcher.type) {
      case Type::any:
        return type == GEN_DNS || type == GEN_URI || type == GEN_EMAIL || type == GEN_IPADD;
      case Type::email:
        return type == GEN_EMAIL;
      case Type::dns:
        return type == GEN_DNS;
      case Type::uri:
        return type == GEN_URI;
      case Type::ip:
        return type == GEN_IPADD;
      case Type::other_name:
        return type == GEN_OTHERNAME;
    }
    return false;
  };
  if (!is(name->type)) return false;
  if (name->type == GEN_OTHERNAME && (!oid || OBJ_cmp(name->d.otherName->type_id, oid) != 0)) return false;
  const std::string text = to_text(name);
  if (name->type == GEN_DNS && matcher.matcher.kind == StringMatcher::Kind::exact)
    return dns_matches(matcher.matcher.text, text);
  return matcher.matcher.matches(text);
}

std::string serial_of(X509* certificate) {
  return to_lower(number_text(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr), BN_bn2hex));
}

std::string pem_of(X509* certificate) {
  BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), certificate);
  return to_text(out.get());
}

ext::CertificateInfo describe(X509* certificate) {
  const std::string der = der_of(certificate);
  auto digest_text = [&](const EVP_MD* md) {
    const std::string d = digest(md, der);
    return hex({reinterpret_cast<const uint8_t*>(d.data()), d.size()});
  };
  ext::CertificateInfo info;
  info.subject = name_text(X509_get_subject_name(certificate));
  info.issuer = name_text(X509_get_issuer_name(certificate));
  info.serial = serial_of(certificate);
  info.sha256 = digest_text(EVP_sha256());
  info.sha1 = digest_text(EVP_sha1());
  info.uri_sans = names_of(certificate, GEN_URI);
  info.dns_sans = names_of(certificate, GEN_DNS);
  info.ip_sans = names_of(certificate, GEN_IPADD);
  info.email_sans = names_of(certificate, GEN_EMAIL);
  info.other_name_sans = names_of(certificate, GEN_OTHERNAME);
  for (int i = 0; i < X509_get_ext_count(certificate); ++i)
    if (std::string oid = oid_text(X509_EXTENSION_get_object(X509_get_ext(certificate, i))); !oid.empty())
      info.oids.push_back(std::move(oid));
  info.not_before = to_wall(X509_get0_notBefore(certificate));
  info.not_after = to_wall(X509_get0_notAfter(certificate));
  info.pem = pem_of(certificate);
  return info;
}

}  // namespace sluice::tls
