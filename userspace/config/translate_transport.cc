#include "config/translate_transport.h"

#include <unordered_set>

#include "config/convert.h"
#include "config/factory_context.h"
#include "config/translate_metadata.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/base.pb.h"

namespace sluice::config {

namespace {

constexpr std::string_view kRawBuffer = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

template <typename Factory>
using Find = const ext::Extension<Factory>* (ext::Registry::*)(std::string_view type) const;

template <typename Factory>
Result<Factory> to_transport(const envoy::config::core::v3::TransportSocket& in, FactoryContext& context,
                             const FieldPath& path, std::string_view category, Find<Factory> find) {
  if (!in.has_typed_config())
    return refuse(path,
                  "typed_config is missing; without transport_socket a connection is plain TCP (raw_buffer)");
  SLUICE_ASSIGN(const Unpacked typed, typed_config(in, context.registry(), category, path));
  if (typed.type == kRawBuffer) return Factory();
  const auto* extension = (context.registry().*find)(typed.type);
  if (extension == nullptr)
    return no_such_extension(path, typed.type, "transport socket", context.registry(), category, in.name());
  return extension->create(*typed.config, context, path.field("typed_config").to_string());
}

}  // namespace

Result<ext::DownstreamTransportFactory> to_downstream_transport(
    const envoy::config::core::v3::TransportSocket& in, FactoryContext& context, const FieldPath& path) {
  return to_transport<ext::DownstreamTransportFactory>(in, context, path, "transport_sockets.downstream",
                                                       &ext::Registry::downstream_transport);
}

Result<ext::UpstreamTransportFactory> to_upstream_transport(
    const envoy::config::core::v3::TransportSocket& in, FactoryContext& context, const FieldPath& path) {
  return to_transport<ext::UpstreamTransportFactory>(in, context, path, "transport_sockets.upstream",
                                                     &ext::Registry::upstream_transport);
}

Status add_transport_sockets(const envoy::config::cluster::v3::Cluster& in, FactoryContext& context,
                             const FieldPath& path, model::Cluster& out) {
  if (in.has_transport_socket()) {
    SLUICE_ASSIGN(out.transport,
                  to_upstream_transport(in.transport_socket(), context, path.field("transport_socket")));
  }
  const FieldPath list = path.field("transport_socket_matches");
  std::unordered_set<std::string_view> names;
  for (int i = 0; i < in.transport_socket_matches_size(); ++i) {
    const auto& match = in.transport_socket_matches(i);
    const FieldPath at = list.item(static_cast<size_t>(i));
    if (!names.insert(match.name()).second)
      return refuse(at.field("name"),
                    "\"" + match.name() + "\" is there already: statistics are kept by name");
    model::TransportMatch made{.name = match.name(), .criteria = to_criteria(match.match()), .transport = {}};
    SLUICE_ASSIGN(made.transport,
                  to_upstream_transport(match.transport_socket(), context, at.field("transport_socket")));
    out.transport_matches.push_back(std::move(made));
  }
  return {};
}

}  // namespace sluice::config
