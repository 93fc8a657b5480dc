#include "extensions/filters/http/router/config.h"

#include <string>

#include "core/own_address.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "extensions/filters/http/router/router.h"

namespace sluice::extensions::router {
namespace {

using Proto = envoy::extensions::filters::http::router::v3::Router;

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                      std::string_view) {
  const auto& proto = static_cast<const Proto&>(message);
  auto config = std::make_shared<Config>();
  if (proto.has_dynamic_stats()) config->dynamic_stats = proto.dynamic_stats().value();
  config->suppress_envoy_headers = proto.suppress_envoy_headers();
  config->respect_expected_rq_timeout = proto.respect_expected_rq_timeout();
  config->suppress_grpc_failure_code_stats = proto.suppress_grpc_request_failure_code_stats();
  for (const std::string& name : proto.strict_check_headers())
    config->strict_check_headers.push_back(http::find_name(name));
  config->own_address = find_own_address();
  config->start_child_span = proto.start_child_span();
  return make_factory(std::move(config));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.router";
  e.type = "envoy.extensions.filters.http.router.v3.Router";
  e.terminal = true;
  e.create = &create;
  e.honoured = {{.message = "envoy.extensions.filters.http.router.v3.Router",
                 .fields = "dynamic_stats start_child_span suppress_envoy_headers strict_check_headers "
                           "respect_expected_rq_timeout suppress_grpc_request_failure_code_stats"}};
  return e;
}

}  // namespace sluice::extensions::router
