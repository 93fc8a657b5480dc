#include "extensions/filters/http/health_check/config.h"

#include <algorithm>

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
  for (const auto& [name, percent] : in.cluster_min_healthy_percentages())
    out.cluster_min_healthy.emplace_back(name, percent.value());
  std::ranges::sort(out.cluster_min_healthy);
  if (out.pass_through && !out.cluster_min_healthy.empty())
    return Error{
        std::string(path) +
        ".cluster_min_healthy_percentages: cannot be used with pass_through_mode: what stands behind "
        "answers then"};
  out.cluster_name = context.node_cluster();
  return make_factory(std::move(out));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.health_check";
  e.type = "envoy.extensions.filters.http.health_check.v3.HealthCheck";
  e.create = &create;
  e.honoured = {{.message = "envoy.extensions.filters.http.health_check.v3.HealthCheck",
                 .fields = "pass_through_mode cache_time headers cluster_min_healthy_percentages"}};
  return e;
}

}  // namespace sluice::extensions::health_check
