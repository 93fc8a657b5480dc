#include "extensions/filters/http/router/upgrade.h"

namespace sluice::extensions::router {

using http::Name;

http::HeaderMapPtr extended_connect(const http::HeaderMap& upgrade) {
  http::HeaderMapPtr out = http::copy_headers(upgrade);
  out->set_static(Name::method, "CONNECT");
  out->set(Name::protocol, upgrade.get(Name::upgrade));
  out->remove(Name::upgrade);
  out->remove(Name::connection);
  // RFC 8441 section 5: the key of RFC 6455 has no place here; a body's length neither.
  if (out->get(Name::content_length) == "0") out->remove(Name::content_length);
  return out;
}

void switch_protocols(const http::HeaderMap& request, http::HeaderMap& response) {
  if (!response.get(Name::status).starts_with('2')) return;
  response.set_static(Name::status, "101");
  response.set(Name::upgrade, request.get(Name::upgrade));
  response.set_static(Name::connection, "upgrade");
  response.remove(Name::content_length);
}

}  // namespace sluice::extensions::router
