#include "extensions/filters/network/http_connection_manager/local_reply.h"

#include <utility>

#include "http/grpc.h"

namespace sluice::extensions::http_connection_manager {

using http::HeaderMap;
using http::Name;

std::string percent_encode(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    if (u < ' ' || u > '~' || u == '%') {
      out += '%';
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  return out;
}

namespace {

struct Rewritten {
  std::string body;
  std::string_view content_type = "text/plain";
};

// The first mapper that is for this stream, then its format or the general one.
Rewritten rewrite(const LocalReplies& config, std::string body, uint16_t& status, HeaderMap& headers,
                  ext::StreamInfo& info) {
  Rewritten out;
  const BodyFormat* format = config.format.get();
  for (const LocalReplies::Mapper& m : config.mappers) {
    info.http->local_reply_body = body;
    if (m.filter && !m.filter->pass(info)) continue;
    if (m.body) body = *m.body;
    m.headers.apply(headers, info);
    if (m.status != 0) {
      status = m.status;
      headers.set_integer(Name::status, status);
      info.http->response_code = status;
    }
    if (m.format) format = m.format.get();
    break;
  }
  if (!format) {
    out.body = std::move(body);
    return out;
  }
  info.http->local_reply_body = body;
  format->format(info, out.body);
  out.content_type = format->content_type;
  return out;
}

}  // namespace

PreparedReply prepare(const LocalReplies& config, const ext::LocalReply& reply, ReplyTo to,
                      ext::StreamInfo& info) {
  PreparedReply out{http::make_headers(), {}};
  HeaderMap& headers = *out.headers;
  uint16_t status = reply.status;
  headers.set_integer(Name::status, status);
  if (reply.modify) reply.modify(headers);

  // The filters and formats of local_reply_config look at these.
  info.http->response_code = status;
  info.http->response_headers = &headers;
  const bool changes = !config.mappers.empty() || config.format;
  Rewritten text;
  if (changes)
    text = rewrite(config, std::string(reply.body), status, headers, info);
  else
    text.body = reply.body;

  if (to.grpc) {
    headers.set_static(Name::status, "200");
    headers.set_static(Name::content_type, "application/grpc");
    if (!headers.has(Name::grpc_status))
      headers.set_integer(Name::grpc_status, reply.grpc_status.value_or(http::grpc_status_of_http(status)));
    while (!text.body.empty() && (text.body.back() == '\n' || text.body.back() == ' ')) text.body.pop_back();
    if (!text.body.empty() && !to.head) headers.set(Name::grpc_message, percent_encode(text.body));
    headers.remove(Name::content_length);
  } else if (text.body.empty()) {
    headers.remove(Name::content_length);
    headers.remove(Name::content_type);
  } else {
    headers.set_integer(Name::content_length, text.body.size());
    if (!headers.has(Name::content_type) || (changes && text.body != reply.body))
      headers.set(Name::content_type, text.content_type);
    if (!to.head) out.body = std::move(text.body);
  }
  info.http->response_headers = nullptr;
  return out;
}

}  // namespace sluice::extensions::http_connection_manager
