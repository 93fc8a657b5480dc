#include "extensions/access_loggers/common/values_tls.h"

#include <vector>

#include "extensions/access_loggers/common/operator_kind.h"
#include "extensions/common/url_encoded_pem.h"

namespace sluice::access_loggers {
namespace {

using V = TlsValue;

bool append_text(std::string& out, std::string_view text) {
  out += text;
  return !text.empty();
}

// As they are, with commas between them: Envoy escapes nothing here.
bool append_list(std::string& out, const std::vector<std::string>& list) {
  for (const std::string& entry : list) {
    if (&entry != &list.front()) out += ',';
    out += entry;
  }
  return !list.empty();
}

bool append_local(V value, const ext::CertificateInfo* c, std::string& out) {
  if (!c) return false;
  switch (value) {
    case V::local_uri_sans:
      return append_list(out, c->uri_sans);
    case V::local_dns_sans:
      return append_list(out, c->dns_sans);
    case V::local_ip_sans:
      return append_list(out, c->ip_sans);
    case V::local_other_sans:
      return append_list(out, c->other_name_sans);
    case V::local_email_sans:
      return append_list(out, c->email_sans);
    default:
      return append_text(out, c->subject);
  }
}

bool append_peer(const Operator& op, const ext::CertificateInfo* c, std::string& out) {
  if (!c) return false;
  switch (static_cast<V>(op.choice)) {
    case V::peer_uri_sans:
      return append_list(out, c->uri_sans);
    case V::peer_dns_sans:
      return append_list(out, c->dns_sans);
    case V::peer_ip_sans:
      return append_list(out, c->ip_sans);
    case V::peer_email_sans:
      return append_list(out, c->email_sans);
    case V::peer_other_sans:
      return append_list(out, c->other_name_sans);
    case V::peer_subject:
      return append_text(out, c->subject);
    case V::peer_issuer:
      return append_text(out, c->issuer);
    case V::peer_sha256:
      return append_text(out, c->sha256);
    case V::peer_sha1:
      return append_text(out, c->sha1);
    case V::peer_serial:
      return append_text(out, c->serial);
    case V::peer_pem:
      extensions::append_url_encoded_pem(c->pem, out);
      return !c->pem.empty();
    case V::peer_start:
      op.time->append(c->not_before, out);
      return true;
    default:
      op.time->append(c->not_after, out);
      return true;
  }
}

}  // namespace

bool append_tls_value(const Operator& op, const ext::TlsInfo& tls, std::string& out) {
  const V value = static_cast<V>(op.choice);
  switch (value) {
    case V::version:
      return append_text(out, tls.version());
    case V::cipher:
      return append_text(out, tls.cipher());
    case V::session_id:
      return append_text(out, tls.session_id());
    case V::group:
      return append_text(out, tls.group());
    case V::server_name:
      return append_text(out, tls.server_name());
    case V::chain_sha256:
      return append_list(out, tls.peer_chain_sha256());
    case V::chain_sha1:
      return append_list(out, tls.peer_chain_sha1());
    case V::chain_serials:
      return append_list(out, tls.peer_chain_serials());
    case V::issuer_sha256:
      return tls.peer_issuer() && append_text(out, tls.peer_issuer()->sha256);
    case V::issuer_serial:
      return tls.peer_issuer() && append_text(out, tls.peer_issuer()->serial);
    case V::local_other_sans:
    case V::local_uri_sans:
    case V::local_dns_sans:
    case V::local_ip_sans:
    case V::local_email_sans:
    case V::local_subject:
      return append_local(value, tls.local(), out);
    default:
      return append_peer(op, tls.peer(), out);
  }
}

}  // namespace sluice::access_loggers
