#include "extensions/filters/http/grpc_stats/config.h"

#include "envoy/extensions/filters/http/grpc_stats/v3/config.pb.h"
#include "extensions/filters/http/grpc_stats/grpc_stats.h"

namespace sluice::extensions::grpc_stats {
namespace {

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                      std::string_view) {
  const auto& in =
      static_cast<const envoy::extensions::filters::http::grpc_stats::v3::FilterConfig&>(message);
  Settings out;
  out.all_methods = in.stats_for_all_methods().value();
  for (const auto& service : in.individual_method_stats_allowlist().services())
    for (const auto& method : service.method_names()) out.methods.emplace(service.name(), method);
  out.upstream_time = in.enable_upstream_stats();
  out.emit_filter_state = in.emit_filter_state();
  out.replace_dots = in.replace_dots_in_grpc_service_name();
  return make_factory(std::move(out));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.grpc_stats";
  e.type = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
  e.create = &create;
  e.honoured = {{.message = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
                 .fields = "emit_filter_state individual_method_stats_allowlist stats_for_all_methods "
                           "enable_upstream_stats replace_dots_in_grpc_service_name"},
                {.message = "envoy.config.core.v3.GrpcMethodList", .fields = "services"},
                {.message = "envoy.config.core.v3.GrpcMethodList.Service", .fields = "name method_names"}};
  return e;
}

}  // namespace sluice::extensions::grpc_stats
