#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/header_map.h"
#include "model/route.h"
#include "sluice/ext/http_filter.h"
#include "sluice/ext/stream_info.h"

namespace sluice::extensions::http_connection_manager {

// A body made for a local reply (a SubstitutionFormatString).
class BodyFormat {
 public:
  virtual ~BodyFormat() = default;
  virtual void format(const ext::StreamInfo& info, std::string& out) const = 0;
  std::string content_type = "text/plain";
};

// Which streams a mapper is for.
class ReplyFilter {
 public:
  virtual ~ReplyFilter() = default;
  virtual bool pass(const ext::StreamInfo& info) const = 0;
};

// local_reply_config. https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/local_reply
struct LocalReplies {
  struct Mapper {
    std::shared_ptr<const ReplyFilter> filter;
    uint16_t status = 0;  // 0: unchanged
    std::optional<std::string> body;
    std::shared_ptr<const BodyFormat> format;
    model::HeaderRules headers;
  };
  std::vector<Mapper> mappers;
  std::shared_ptr<const BodyFormat> format;
};

// A local reply as it goes out, before the response side of the filters.
struct PreparedReply {
  http::HeaderMapPtr headers;
  std::string body;
};

struct ReplyTo {
  bool grpc = false;
  bool head = false;  // the request is HEAD: content-length stands, no body follows
};

// Makes head and body: the mappers and formats of `config`, text/plain or a trailers-only gRPC response. Notes status,
// body and head in `info` for those (info.http).
PreparedReply prepare(const LocalReplies& config, const ext::LocalReply& reply, ReplyTo to,
                      ext::StreamInfo& info);

// What is not printable ASCII, and "%", as %XX (gRPC over HTTP/2: Percent-Encoded).
std::string percent_encode(std::string_view text);

}  // namespace sluice::extensions::http_connection_manager
