#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/matchers.h"
#include "sluice/ext/stream_info.h"

namespace sluice::model {

// What a rate limit counts by: keys with values, in order.
using RateLimitDescriptor = std::vector<std::pair<std::string, std::string>>;

// envoy.config.route.v3.RateLimit.Action: one entry of a descriptor.
struct RateLimitAction {
  enum class Kind : uint8_t {
    source_cluster,
    destination_cluster,
    request_header,
    query_parameter,
    remote_address,
    masked_remote_address,
    generic_key,
    header_value_match,
    query_parameter_value_match,
    metadata,  // dynamic
  };
  Kind kind = Kind::generic_key;
  std::string key = {};  // of the entry
  std::string value = {};  // of the entry, for generic_key and *_match; metadata: where there is none
  std::string name = {};  // of the header (lower case) or parameter, or the metadata's namespace
  std::vector<std::string> path = {};  // of the metadata in there
  bool skip_if_absent =
      false;  // header, parameter, metadata: then the entry is left out, else the descriptor
  bool expect_match = true;
  uint32_t v4_prefix = 32, v6_prefix = 128;  // masked_remote_address
  std::vector<HeaderMatcher> headers = {};
  std::vector<QueryParameterMatcher> query = {};
};

// envoy.config.route.v3.RateLimit: how one descriptor is made of a request.
struct RateLimit {
  uint32_t stage = 0;
  std::vector<RateLimitAction> actions = {};
  uint32_t hits = 1;  // hits_addend: so many tokens each request takes
};

// What the actions look at beside the headers.
struct RateLimitInput {
  const http::HeaderMap& headers;
  const Address& remote;
  std::string_view source_cluster;  // the proxy's own: node.cluster
  std::string_view destination_cluster;  // the route's
  const ext::Metadata* metadata = nullptr;  // dynamic; null: nothing was set
};

// False: this request has no such descriptor.
bool describe(const RateLimit& limit, const RateLimitInput& input, RateLimitDescriptor& out);

}  // namespace sluice::model
