#include "extensions/filters/http/cors/config.h"

#include "envoy/extensions/filters/http/cors/v3/cors.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/filters/http/cors/cors.h"

namespace sluice::extensions::cors {
namespace {

Result<ext::HttpFilterFactory> create(const google::protobuf::Message&, ext::FactoryContext&,
                                      std::string_view) {
  return make_factory();
}

Result<ext::HttpRouteConfigPtr> create_route(const google::protobuf::Message& message, ext::FactoryContext&,
                                             std::string_view path) {
  const auto& proto = static_cast<const envoy::extensions::filters::http::cors::v3::CorsPolicy&>(message);
  auto out = std::make_shared<Policy>();
  for (int i = 0; i < proto.allow_origin_string_match_size(); ++i) {
    std::string at = std::string(path) + ".allow_origin_string_match[" + std::to_string(i) + "]";
    SLUICE_ASSIGN(auto matcher, to_string_matcher(proto.allow_origin_string_match(i), at));
    out->allow_origins.push_back(std::move(matcher));
  }
  out->allow_methods = proto.allow_methods();
  out->allow_headers = proto.allow_headers();
  out->expose_headers = proto.expose_headers();
  out->max_age = proto.max_age();
  if (proto.has_allow_credentials()) out->allow_credentials = proto.allow_credentials().value();
  if (proto.has_allow_private_network_access())
    out->allow_private_network_access = proto.allow_private_network_access().value();
  if (proto.has_forward_not_matching_preflights())
    out->forward_not_matching_preflights = proto.forward_not_matching_preflights().value();
  if (proto.has_filter_enabled()) out->filter_enabled = to_fraction(proto.filter_enabled().default_value());
  if (proto.has_shadow_enabled()) out->shadow_enabled = to_fraction(proto.shadow_enabled().default_value());
  return ext::HttpRouteConfigPtr(std::move(out));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.cors";
  e.type = "envoy.extensions.filters.http.cors.v3.Cors";
  e.create = &create;
  e.route_type = "envoy.extensions.filters.http.cors.v3.CorsPolicy";
  e.create_route = &create_route;
  e.honoured = {{.message = "envoy.extensions.filters.http.cors.v3.Cors", .fields = ""},
                {.message = "envoy.extensions.filters.http.cors.v3.CorsPolicy",
                 .fields = "allow_origin_string_match allow_methods allow_headers expose_headers max_age "
                           "allow_credentials filter_enabled shadow_enabled allow_private_network_access "
                           "forward_not_matching_preflights"}};
  return e;
}

}  // namespace sluice::extensions::cors
