#include "extensions/filters/http/rbac/config.h"

#include "envoy/extensions/filters/http/rbac/v3/rbac.pb.h"
#include "extensions/common/rbac/config.h"
#include "extensions/filters/http/rbac/rbac.h"

namespace sluice::extensions::http_rbac {
namespace {

namespace proto = envoy::extensions::filters::http::rbac::v3;

Result<std::shared_ptr<const Settings>> to_settings(const proto::RBAC& in, const std::string& path) {
  auto out = std::make_shared<Settings>();
  if (in.has_rules()) {
    SLUICE_ASSIGN(out->rules, rbac::to_engine(in.rules(), true, path + ".rules"));
  }
  if (in.has_shadow_rules()) {
    SLUICE_ASSIGN(out->shadow_rules, rbac::to_engine(in.shadow_rules(), true, path + ".shadow_rules"));
  }
  out->rules_prefix = in.rules_stat_prefix();
  out->shadow_rules_prefix = in.shadow_rules_stat_prefix();
  out->track_per_rule = in.track_per_rule_stats();
  return std::shared_ptr<const Settings>(std::move(out));
}

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                      std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(static_cast<const proto::RBAC&>(message), std::string(path)));
  return make_factory(std::move(settings));
}

Result<ext::HttpRouteConfigPtr> create_route(const google::protobuf::Message& message, ext::FactoryContext&,
                                             std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(static_cast<const proto::RBACPerRoute&>(message).rbac(),
                                           std::string(path) + ".rbac"));
  return ext::HttpRouteConfigPtr(std::move(settings));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.rbac";
  e.type = "envoy.extensions.filters.http.rbac.v3.RBAC";
  e.create = &create;
  e.route_type = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
  e.create_route = &create_route;
  e.honoured = rbac::honoured_rules();
  e.honoured.push_back({.message = "envoy.extensions.filters.http.rbac.v3.RBAC",
                        .fields = "rules rules_stat_prefix shadow_rules shadow_rules_stat_prefix "
                                  "track_per_rule_stats"});
  e.honoured.push_back({.message = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute", .fields = "rbac"});
  return e;
}

}  // namespace sluice::extensions::http_rbac
