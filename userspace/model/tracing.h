#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/matchers.h"
#include "sluice/ext/stream_info.h"

// HttpConnectionManager.Tracing and what a route says beside it, immutable.
namespace sluice::model {

class HeaderFormatter;

// envoy.type.tracing.v3.CustomTag.
struct CustomTag {
  enum class Kind : uint8_t { literal, request_header, request_metadata, route_metadata, format };
  Kind kind = Kind::literal;
  std::string tag = {};
  // Of the header, in lower case; of request_metadata the filter's namespace; of route_metadata as in Route::metadata_text.
  std::string name = {};
  std::vector<std::string> path = {};  // of request_metadata, below its namespace; not empty
  std::string text = {};  // the literal; else what is said where there is no value
  std::shared_ptr<const HeaderFormatter> formatter = {};

  // "": the span gets no such tag.
  std::string value(const ext::StreamInfo& info) const;
};

struct TraceSampling {
  Fraction client, random,
      overall;  // of requests with x-client-trace-id, of all, and of what these two let pass
};

struct TracingRules {
  TraceSampling sampling;
  std::vector<CustomTag> tags;
  bool verbose = false;
  uint32_t max_path_bytes = 256;  // of the path in http.url
  bool egress = false;
  bool tries_have_spans = false;
  std::shared_ptr<const HeaderFormatter> operation, upstream_operation;  // null: as the tracer names spans
  std::string node_id, zone;
};

// envoy.config.route.v3.Tracing.
struct RouteTracing {
  TraceSampling sampling;
  std::vector<CustomTag> tags;  // instead of the connection manager's of the same name
  std::shared_ptr<const HeaderFormatter> operation, upstream_operation;
};

}  // namespace sluice::model
