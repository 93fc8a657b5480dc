#include "tls/check.h"
#include "tls/errors.h"
#include "tls/identity.h"
#include "tls/names.h"

namespace sluice::tls {
namespace {

CertificateSummary summarize(X509* x) {
  return {.serial = serial_of(x),
          .dns_sans = names_of(x, GEN_DNS),
          .uri_sans = names_of(x, GEN_URI),
          .ip_sans = names_of(x, GEN_IPADD),
          .not_before = to_wall(X509_get0_notBefore(x)),
          .not_after = to_wall(X509_get0_notAfter(x))};
}

}  // namespace

Result<std::vector<CertificateSummary>> summarize(std::string_view pem) {
  clear_errors();
  std::vector<CertificateSummary> out;
  BioPtr bio = reader(pem);
  while (bio) {
    X509Ptr x = read_certificate(bio.get());
    if (!x) break;
    out.push_back(summarize(x.get()));
  }
  const bool whole = at_end_of_pem();
  clear_errors();
  if (!whole || out.empty()) return Error{"not a PEM bundle of certificates"};
  return out;
}

Result<std::vector<CertificateSummary>> summarize(const Certificate& certificate) {
  if (certificate.pkcs12.empty()) return summarize(std::string_view(certificate.chain));
  SLUICE_ASSIGN(Identity identity, load_identity(certificate, "<inline>", "<inline>"));
  std::vector<CertificateSummary> out{summarize(identity.leaf.get())};
  for (int i = 0; i < sk_X509_num(identity.chain.get()); ++i)
    out.push_back(summarize(sk_X509_value(identity.chain.get(), i)));
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  const std::string d = digest(EVP_sha256(), bytes);
  return hex({reinterpret_cast<const uint8_t*>(d.data()), d.size()});
}

}  // namespace sluice::tls
