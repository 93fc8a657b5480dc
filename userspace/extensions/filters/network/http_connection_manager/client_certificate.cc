#include "extensions/filters/network/http_connection_manager/client_certificate.h"

#include "extensions/common/url_encoded_pem.h"

namespace sluice::extensions::http_connection_manager {
namespace {

class Writer {
 public:
  std::string& key(std::string_view name) {
    if (!out_.empty()) out_ += ';';
    out_ += name;
    out_ += '=';
    return out_;
  }
  void all(std::string_view name, const std::vector<std::string>& values) {
    for (const std::string& v : values) key(name) += v;
  }
  void pem(std::string_view name, const std::vector<std::string>& certificates) {
    if (certificates.empty()) return;
    key(name) += '"';
    for (const std::string& c : certificates) append_url_encoded_pem(c, out_);
    out_ += '"';
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

}  // namespace

std::string describe_client(const ext::TlsInfo& tls, const ClientCertDetails& details) {
  const ext::CertificateInfo* peer = tls.peer();
  if (!peer) return {};
  Writer out;
  if (tls.local()) out.all("By", tls.local()->uri_sans);
  if (!peer->sha256.empty()) out.key("Hash") += peer->sha256;
  if (details.cert) out.pem("Cert", {peer->pem});
  if (details.chain) out.pem("Chain", tls.peer_chain_pem());
  if (details.subject) {
    std::string& text = out.key("Subject");
    text += '"';
    text += peer->subject;
    text += '"';
  }
  if (details.uri) {
    out.all("URI", peer->uri_sans);
    if (peer->uri_sans.empty()) out.key("URI");  // there even so
  }
  if (details.dns) out.all("DNS", peer->dns_sans);
  return out.take();
}

}  // namespace sluice::extensions::http_connection_manager
