#include "extensions/filters/http/health_check/config.h"

#include "envoy/extensions/filters/http/health_check/v3/health_check.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/http/health_check/health_check.h"

namespace sluice::extensions::health_check {
namespace {

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext& context,
                                      std::string_view path) {
  const auto& in =
      static_cast<const envoy::extensions::filters::http::health_check::v3::HealthCheck&>(message);
  Settings out;
  out.pass_through = in.pass_through_mode().value();
  if (in.has_cache_time()) {
    if (!out.pass_through)
      return Error{
          std::string(path) +
          ".cache_time: must not be set when pass_through_mode is disabled: nothing answers that could be "
          "remembered"};
    out.cache_time = to_duration(in.cache_time());
  }
  SLUICE_ASSIGN(out.headers, to_header_matchers(in.headers(), std::string(path) + ".headers"));
  out.cluster_name = context.node_cluster();
  return make_factory(std::move(out));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.health_check";
  e.type = "envoy.extensions.filters.http.health_check.v3.HealthCheck";
  e.create = &create;
  // cluster_min_healthy_percentages is refused: a filter cannot see how many hosts of a cluster are healthy.
  e.honoured = {{.message = "envoy.extensions.filters.http.health_check.v3.HealthCheck",
                 .fields = "pass_through_mode cache_time headers"}};
  return e;
}

}  // namespace sluice::extensions::health_check
