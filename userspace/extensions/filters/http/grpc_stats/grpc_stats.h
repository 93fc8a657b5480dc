#pragma once

#include <set>
#include <string>
#include <utility>

#include "core/buffer.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::grpc_stats {

// envoy.extensions.filters.http.grpc_stats.v3.FilterConfig.
struct Settings {
  bool all_methods = false;
  std::set<std::pair<std::string, std::string>, std::less<>>
      methods;  // (service, method): those with counters of their own
  bool upstream_time = false;
  bool emit_filter_state = false;
  bool replace_dots = false;  // of the service's name, by "_"
};

// Counts the length-prefixed messages of a gRPC body as it passes, whatever the pieces.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
class MessageCounter {
 public:
  uint64_t count(const Buffer& data);  // how many messages begin in it
 private:
  uint32_t prefix_ = 0;  // bytes of the five-byte prefix that are through
  uint32_t length_ = 0;  // of the message, from the prefix
  uint32_t left_ = 0;  // of its body
};

// "cluster.<name>.grpc.[<service>.<method>.]{total,success,failure,<status>,request_message_count,...}".
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/grpc_stats_filter
ext::HttpFilterFactory make_factory(Settings settings);

}  // namespace sluice::extensions::grpc_stats
