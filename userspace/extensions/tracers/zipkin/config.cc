#include "extensions/tracers/zipkin/config.h"

#include <string>

#include "core/own_address.h"
#include "envoy/config/trace/v3/zipkin.pb.h"
#include "extensions/tracers/zipkin/zipkin.h"

namespace sluice::extensions::zipkin {
namespace {

using Proto = envoy::config::trace::v3::ZipkinConfig;

Result<ext::TracerFactory> create(const google::protobuf::Message& message, ext::FactoryContext& context,
                                  std::string_view at) {
  const auto& in = static_cast<const Proto&>(message);
  const std::string path(at);
  if (in.collector_cluster().empty()) return Error{path + ".collector_cluster: must be specified"};
  if (in.collector_endpoint().empty())
    return Error{path + ".collector_endpoint: must be specified when using collector_cluster"};
  if (!context.knows_cluster(in.collector_cluster()))
    return Error{path + ".collector_cluster: envoy.tracers.zipkin: unknown cluster '" +
                 in.collector_cluster() + "'"};
  if (in.collector_endpoint_version() != Proto::HTTP_JSON)
    return Error{path + ".collector_endpoint_version: " +
                 Proto::CollectorEndpointVersion_Name(in.collector_endpoint_version()) +
                 " is not supported by this version of Sluice; write HTTP_JSON"};
  auto config = std::make_shared<Config>();
  config->cluster = in.collector_cluster();
  config->path = in.collector_endpoint();
  config->host = in.collector_hostname().empty() ? in.collector_cluster() : in.collector_hostname();
  config->trace_id_128bit = in.trace_id_128bit();
  if (in.has_shared_span_context()) config->shared_span_context = in.shared_span_context().value();
  config->split_spans = in.split_spans_for_request();
  config->service = context.node_cluster();
  config->own_address = find_own_address();
  config->key = in.SerializeAsString();
  return make_factory(std::move(config));
}

}  // namespace

ext::Extension<ext::TracerFactory> extension() {
  return {.name = "envoy.tracers.zipkin",
          .type = "envoy.config.trace.v3.ZipkinConfig",
          .create = &create,
          .honoured = {{.message = "envoy.config.trace.v3.ZipkinConfig",
                        .fields = "collector_cluster collector_endpoint trace_id_128bit shared_span_context "
                                  "collector_endpoint_version collector_hostname split_spans_for_request"}}};
}

}  // namespace sluice::extensions::zipkin
