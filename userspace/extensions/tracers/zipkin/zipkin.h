#pragma once

#include <memory>
#include <string>

#include "sluice/ext/tracer.h"

// envoy.tracers.zipkin: spans go to a Zipkin collector (Jaeger has one, too) as JSON of its API v2.
namespace sluice::extensions::zipkin {

struct Config {
  std::string cluster, path, host;  // where spans are posted
  bool trace_id_128bit = false;
  bool shared_span_context = true;  // a server span has the id of its client's
  bool split_spans = false;  // split_spans_for_request
  std::string service;  // the node's cluster
  std::string own_address;
  std::string key;  // equal for equal configurations
};

ext::TracerFactory make_factory(std::shared_ptr<const Config> config);

}  // namespace sluice::extensions::zipkin
