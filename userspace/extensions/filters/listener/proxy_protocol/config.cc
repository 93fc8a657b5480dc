#include "extensions/filters/listener/proxy_protocol/config.h"

#include <string>

#include "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.pb.h"
#include "extensions/filters/listener/proxy_protocol/proxy_protocol.h"

namespace sluice::extensions::proxy_protocol {
namespace {

using Config = envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
using envoy::config::core::v3::ProxyProtocolConfig;

Result<ext::ListenerFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                          std::string_view path) {
  const auto& config = static_cast<const Config&>(message);
  auto settings = std::make_shared<Settings>();
  settings->allow_without = config.allow_requests_without_proxy_protocol();
  settings->stat_prefix = config.stat_prefix();
  if (config.tlv_location() != Config::DYNAMIC_METADATA)
    return Error{std::string(path) +
                 ".tlv_location: only DYNAMIC_METADATA: there is no filter state to put TLVs into"};
  for (int version : config.disallowed_versions()) {
    if (version == ProxyProtocolConfig::V1) settings->allow_v1 = false;
    if (version == ProxyProtocolConfig::V2) settings->allow_v2 = false;
  }
  if (!settings->allow_v1 && !settings->allow_v2)
    return Error{std::string(path) + ".disallowed_versions: no version of the PROXY protocol is left"};
  for (const auto& rule : config.rules()) {
    const auto& to = rule.on_tlv_present();
    settings->rules[rule.tlv_type() & 0xff] = std::make_shared<const Settings::MetadataKey>(
        Settings::MetadataKey{to.metadata_namespace().empty() ? "envoy.filters.listener.proxy_protocol"
                                                              : to.metadata_namespace(),
                              to.key()});
  }
  return make_factory(std::move(settings));
}

}  // namespace

ext::Extension<ext::ListenerFilterFactory> extension() {
  constexpr std::string_view kMessage = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
  return {
      .name = "envoy.filters.listener.proxy_protocol",
      .type = std::string(kMessage),
      .create = &create,
      .honoured = {
              // pass_through_tlvs is not: nothing here hands TLVs on to upstream connections.
          {.message = kMessage,
           .fields =
               "rules allow_requests_without_proxy_protocol disallowed_versions stat_prefix tlv_location"},
          {.message = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule",
           .fields = "*"},
          {.message = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair",
           .fields = "*"}}};
}

}  // namespace sluice::extensions::proxy_protocol
