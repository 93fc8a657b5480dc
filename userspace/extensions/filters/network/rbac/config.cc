#include "extensions/filters/network/rbac/config.h"

#include "envoy/extensions/filters/network/rbac/v3/rbac.pb.h"
#include "extensions/common/proto_util.h"
#include "extensions/common/rbac/config.h"
#include "extensions/filters/network/rbac/rbac.h"

namespace sluice::extensions::network_rbac {
namespace {

namespace proto = envoy::extensions::filters::network::rbac::v3;

Result<ext::NetworkFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                         std::string_view path) {
  const auto& in = static_cast<const proto::RBAC&>(message);
  const std::string base(path);
  auto out = std::make_shared<Settings>();
  if (in.has_rules()) {
    SLUICE_ASSIGN(out->rules, rbac::to_engine(in.rules(), false, base + ".rules"));
  }
  if (in.has_shadow_rules()) {
    SLUICE_ASSIGN(out->shadow_rules, rbac::to_engine(in.shadow_rules(), false, base + ".shadow_rules"));
  }
  out->stat_prefix = in.stat_prefix();
  out->shadow_rules_prefix = in.shadow_rules_stat_prefix();
  out->continuous = in.enforcement_type() == proto::RBAC::CONTINUOUS;
  // Envoy counts in whole milliseconds.
  if (in.has_delay_deny())
    out->delay_deny = std::chrono::floor<std::chrono::milliseconds>(to_duration(in.delay_deny()));
  return make_factory(std::move(out));
}

}  // namespace

ext::Extension<ext::NetworkFilterFactory> extension() {
  ext::Extension<ext::NetworkFilterFactory> e{.name = "envoy.filters.network.rbac",
                                              .type = "envoy.extensions.filters.network.rbac.v3.RBAC",
                                              .create = &create,
                                              .honoured = rbac::honoured_rules()};
  e.honoured.push_back({.message = "envoy.extensions.filters.network.rbac.v3.RBAC",
                        .fields = "rules shadow_rules stat_prefix shadow_rules_stat_prefix enforcement_type "
                                  "delay_deny"});
  return e;
}

}  // namespace sluice::extensions::network_rbac
