#include "extensions/transport_sockets/upstream_proxy_protocol/config.h"

#include <string>
#include <utility>

#include "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.pb.h"
#include "extensions/transport_sockets/upstream_proxy_protocol/upstream_proxy_protocol.h"

namespace sluice::extensions::upstream_proxy_protocol {
namespace {

using Config = envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
using envoy::config::core::v3::ProxyProtocolConfig;

Result<ext::UpstreamTransportFactory> create(const google::protobuf::Message& message,
                                             ext::FactoryContext& context, std::string_view path) {
  const auto& in = static_cast<const Config&>(message);
  Settings settings;
  settings.v2 = in.config().version() == ProxyProtocolConfig::V2;
  for (int i = 0; i < in.config().added_tlvs_size(); ++i) {
    const auto& tlv = in.config().added_tlvs(i);
    const std::string at = std::string(path) + ".config.added_tlvs[" + std::to_string(i) + "]";
    if (tlv.value().empty()) return Error{at + ".value: is missing: a TLV without a value cannot be added"};
    if (tlv.value().size() > 65535) return Error{at + ".value: a TLV has 65535 bytes at most"};
    settings.added.push_back({static_cast<uint8_t>(tlv.type()), tlv.value()});
  }
  auto inner =
      context.make_upstream_transport(in.transport_socket(), std::string(path) + ".transport_socket");
  if (!inner.ok()) return inner.error();
  settings.inner = std::move(inner).value();
  return make_factory(std::move(settings));
}

}  // namespace

ext::Extension<ext::UpstreamTransportFactory> extension() {
  constexpr std::string_view kMessage =
      "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";
  return {.name = "envoy.transport_sockets.upstream_proxy_protocol",
          .type = std::string(kMessage),
          .create = &create,
          .honoured = {
              // Envoy takes allow_unspecified_address and tlv_as_pool_key, too, and does nothing with them.
              {.message = kMessage, .fields = "config transport_socket"},
              // pass_through_tlvs is not: a downstream's TLVs are not kept.
              {.message = "envoy.config.core.v3.ProxyProtocolConfig", .fields = "version added_tlvs"},
              // format_string is not.
              {.message = "envoy.config.core.v3.TlvEntry", .fields = "type value"}}};
}

}  // namespace sluice::extensions::upstream_proxy_protocol
