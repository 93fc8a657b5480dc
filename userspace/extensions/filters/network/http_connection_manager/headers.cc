#include "extensions/filters/network/http_connection_manager/headers.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/ascii.h"
#include "extensions/filters/network/http_connection_manager/client_address.h"

namespace sluice::extensions::http_connection_manager {

using http::HeaderMap;
using http::Name;

namespace {

// Headers by which a client inside asks something of the proxy; from outside they mean nothing.
constexpr Name kInternalOnly[] = {
    Name::x_envoy_retriable_status_codes,
    Name::x_envoy_retriable_header_names,
    Name::x_envoy_retry_on,
    Name::x_envoy_retry_grpc_on,
    Name::x_envoy_max_retries,
    Name::x_envoy_upstream_alt_stat_name,
    Name::x_envoy_upstream_rq_timeout_ms,
    Name::x_envoy_upstream_rq_per_try_timeout_ms,
    Name::x_envoy_upstream_rq_timeout_alt_response,
    Name::x_envoy_expected_rq_timeout_ms,
    Name::x_envoy_force_trace,
    Name::x_envoy_ip_tags,
    Name::x_envoy_hedge_on_per_try_timeout,
};

// At the edge of the mesh nobody may say who he is inside it either.
constexpr Name kEdgeRemoves[] = {
    Name::x_envoy_decorator_operation,     Name::x_envoy_downstream_service_cluster,
    Name::x_envoy_downstream_service_node, Name::x_envoy_original_path,
    Name::x_envoy_original_host,
};

// Most requests have none of the headers a rule is about: look at the bits before the fields.
template <size_t N>
void remove_all(HeaderMap& headers, const Name (&names)[N]) {
  for (Name n : names)
    if (headers.has(n)) headers.remove(n);
}

void remove(HeaderMap& headers, Name name) {
  if (headers.has(name)) headers.remove(name);
}

void append_via(HeaderMap& headers, const std::string& via) {
  headers.append(Name::via, via, ", ");
}

void remove_hop_by_hop(HeaderMap& headers) {
  if (is_upgrade(headers)) {
    // A request that waits for its upgrade has no body of its own.
    if (!headers.has(Name::transfer_encoding) && !headers.has(Name::content_length))
      headers.set_static(Name::content_length, "0");
  } else {
    remove(headers, Name::connection);
    remove(headers, Name::upgrade);
  }
  if (headers.has(Name::te)) {
    // Of all transfer codings only trailers can be promised for the next hop.
    if (has_token(headers.get(Name::te), "trailers"))
      headers.set_static(Name::te, "trailers");
    else
      headers.remove(Name::te);
  }
  remove(headers, Name::x_envoy_internal);
  remove(headers, Name::keep_alive);
  remove(headers, Name::proxy_connection);
  remove(headers, Name::transfer_encoding);
}

void set_scheme(const Settings& settings, bool tls, HeaderMap& headers) {
  if (!settings.scheme_to_overwrite.empty()) {
    headers.set(Name::scheme, settings.scheme_to_overwrite);
    headers.set(Name::x_forwarded_proto, settings.scheme_to_overwrite);
  }
  std::string_view scheme = headers.get(Name::scheme);
  if (scheme.empty()) {
    std::string_view proto = headers.get(Name::x_forwarded_proto);
    if (equal_ignoring_case(proto, "https"))
      headers.set_static(Name::scheme, "https");
    else if (equal_ignoring_case(proto, "http"))
      headers.set_static(Name::scheme, "http");
    else
      headers.set_static(Name::scheme, tls ? "https" : "http");
  } else if (std::any_of(scheme.begin(), scheme.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) {
    headers.set(Name::scheme, to_lower(scheme));
  }
}

void set_client_certificate(ClientCert how, std::string_view details, HeaderMap& headers) {
  if (how == ClientCert::always_forward_only) return;
  // Who presented no certificate has none to speak of.
  if (how == ClientCert::sanitize || details.empty()) return remove(headers, Name::x_forwarded_client_cert);
  if (how == ClientCert::append_forward) headers.append(Name::x_forwarded_client_cert, details);
  if (how == ClientCert::sanitize_set) headers.set(Name::x_forwarded_client_cert, details);
}

void set_request_id(const Settings& settings, bool edge, Random& random, HeaderMap& headers) {
  if (!settings.generate_request_id) return;
  const bool there = !headers.get(Name::x_request_id).empty();
  if (!there || (edge && !settings.preserve_external_request_id)) {
    const auto id = make_uuid(random);
    headers.set(Name::x_request_id, {id.data(), id.size()});
    return;
  }
  // Somebody outside may not decide on tracing: the character that carries the reason is that of "not traced".
  std::string_view old = headers.get(Name::x_request_id);
  if (edge && settings.pack_trace_reason && old.size() == 36 && old[14] != '4') {
    std::string id(old);
    id[14] = '4';
    headers.set(Name::x_request_id, id);
  }
}

}  // namespace

bool has_token(std::string_view value, std::string_view token) {
  while (!value.empty()) {
    size_t comma = value.find(',');
    std::string_view item = value.substr(0, comma);
    item = item.substr(0, item.find(';'));
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (equal_ignoring_case(item, token)) return true;
    if (comma == std::string_view::npos) return false;
    value.remove_prefix(comma + 1);
  }
  return false;
}

bool is_upgrade(const HeaderMap& headers) {
  return headers.has(Name::upgrade) && headers.has(Name::connection) &&
         has_token(headers.get(Name::connection), "upgrade");
}

bool wants_close(const HeaderMap& request, http::Protocol protocol) {
  if (protocol == http::Protocol::http2) return false;
  std::string_view connection = request.get(Name::connection);
  std::string_view proxy_connection = request.get(Name::proxy_connection);
  if (protocol == http::Protocol::http10)
    return !has_token(connection, "keep-alive") && !has_token(proxy_connection, "keep-alive");
  return has_token(connection, "close") || has_token(proxy_connection, "close");
}

RequestVerdict mutate_request(const Settings& settings, const RequestOrigin& origin, Random& random,
                              const model::RouteConfig* routes, HeaderMap& headers) {
  remove_hop_by_hop(headers);
  const std::string_view own_proto = origin.tls ? "https" : "http";
  const std::optional<IpAddress> peer =
      origin.remote.is_ip() ? std::optional(origin.remote.ip().unmapped()) : std::nullopt;

  std::optional<IpAddress> client;
  bool may_be_internal = false;
  if (settings.use_remote_address) {
    may_be_internal = !headers.has(Name::x_forwarded_for);
    const uint32_t hops = settings.xff_num_trusted_hops;
    if (hops > 0) client = last_forwarded_address(headers, hops - 1).address;
    if (!client) client = peer;
    if (!settings.skip_xff_append && peer) {
      if (settings.ipv4_as_mapped && !peer->is_loopback())
        headers.append(Name::x_forwarded_for, address_text(settings, *peer));
      else
        append_forwarded_for(headers, *peer, settings.own_address);
    }
    // What an untrusted hop says of itself is not believed.
    if (hops == 0 || !headers.has(Name::x_forwarded_proto))
      headers.set_static(Name::x_forwarded_proto, own_proto);
    if (settings.append_x_forwarded_port && (hops == 0 || !headers.has(Name::x_forwarded_port)))
      headers.set_integer(Name::x_forwarded_port, origin.local.port());
  } else {
    DetectedAddress found = detect_address(settings, headers, origin.remote);
    if (found.reject_status != 0) return {Address(), found.reject_status};
    client = found.address;
    may_be_internal = found.may_be_internal;
  }
  if (!headers.has(Name::x_forwarded_proto)) headers.set_static(Name::x_forwarded_proto, own_proto);
  set_scheme(settings, origin.tls, headers);

  const bool internal = may_be_internal && ((client && is_internal(settings, *client)) ||
                                            (origin.remote.is_pipe() && settings.unix_sockets_internal));
  const bool edge = !internal && settings.use_remote_address;
  if (internal) {
    headers.set_static(Name::x_envoy_internal, "true");
  } else {
    if (edge) remove_all(headers, kEdgeRemoves);
    remove_all(headers, kInternalOnly);
    headers.remove("x-envoy-original-url");
    if (routes)
      for (const std::string& name : routes->internal_only_headers) headers.remove(name);
  }
  if (!settings.user_agent.empty()) {
    headers.set(Name::x_envoy_downstream_service_cluster, settings.user_agent);
    if (headers.get(Name::user_agent).empty()) headers.set(Name::user_agent, settings.user_agent);
    if (!settings.node_id.empty()) headers.set(Name::x_envoy_downstream_service_node, settings.node_id);
  }
  if (!settings.via.empty()) append_via(headers, settings.via);
  if (edge && (client || peer))
    headers.set(Name::x_envoy_external_address, address_text(settings, client ? *client : *peer));
  set_request_id(settings, edge, random, headers);

  set_client_certificate(settings.client_cert, origin.client_certificate, headers);

  RequestVerdict verdict;
  if (client && (!peer || *client != *peer)) verdict.remote = Address(*client, 0);
  return verdict;
}

void mutate_response(const Settings& settings, const HeaderMap* request, HeaderMap& response) {
  if (response.has(Name::upgrade) && request && is_upgrade(*request) && is_upgrade(response)) {
    if (!response.has(Name::transfer_encoding) && !response.has(Name::content_length) &&
        !response.get(Name::status).starts_with('1'))
      response.set_static(Name::content_length, "0");
  } else {
    remove(response, Name::connection);
    remove(response, Name::upgrade);
  }
  remove(response, Name::transfer_encoding);
  remove(response, Name::keep_alive);
  remove(response, Name::proxy_connection);
  if (request && (settings.always_set_request_id_in_response || request->has(Name::x_envoy_force_trace))) {
    std::string_view id = request->get(Name::x_request_id);
    if (id.data() != nullptr) response.set(Name::x_request_id, id);
  }
  if (!settings.via.empty()) append_via(response, settings.via);
}

bool upgrade_from_http2(HeaderMap& request) {
  if (!request.has(Name::protocol) || request.get(Name::method) != "CONNECT") return false;
  request.set_static(Name::method, "GET");
  request.set(Name::upgrade, request.get(Name::protocol));
  request.set_static(Name::connection, "upgrade");
  request.remove(Name::protocol);
  return true;
}

void upgrade_answer_to_http2(HeaderMap& response) {
  if (response.get(Name::status) == "101") response.set_static(Name::status, "200");
  response.remove(Name::upgrade);
  response.remove(Name::connection);
  if (response.get(Name::content_length) == "0") response.remove(Name::content_length);
}

std::array<char, 36> make_uuid(Random& random) {
  constexpr char kHex[] = "0123456789abcdef";
  uint64_t bits[2] = {random.next(), random.next()};
  bits[0] = (bits[0] & ~0xf000ull) | 0x4000ull;  // version 4
  bits[1] = (bits[1] & ~(0xc0ull << 56)) | 0x80ull << 56;  // variant 10
  std::array<char, 36> out;
  size_t at = 0;
  for (unsigned digit = 0; digit < 32; ++digit) {
    if (digit == 8 || digit == 12 || digit == 16 || digit == 20) out[at++] = '-';
    out[at++] = kHex[bits[digit / 16] >> (60 - digit % 16 * 4) & 15];
  }
  return out;
}

}  // namespace sluice::extensions::http_connection_manager
