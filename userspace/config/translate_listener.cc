#include <linux/tcp.h>
#include <netinet/in.h>

#include <fstream>
#include <string>

#include "config/any.h"
#include "config/convert.h"
#include "config/factory_context.h"
#include "config/translate.h"
#include "config/translate_listener_filter.h"
#include "config/translate_transport.h"
#include "core/ascii.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/filters/listener/original_dst/v3/original_dst.pb.h"
#include "sluice/ext/registry.h"

namespace sluice::config {

namespace pb = google::protobuf;
namespace proto = envoy::config::listener::v3;

namespace {

Result<std::vector<Cidr>> to_cidrs(const pb::RepeatedPtrField<envoy::config::core::v3::CidrRange>& ranges,
                                   const FieldPath& path) {
  std::vector<Cidr> out;
  for (int i = 0; i < ranges.size(); ++i) {
    const FieldPath at = path.item(static_cast<size_t>(i));
    auto ip = IpAddress::parse(ranges[i].address_prefix());
    if (!ip.ok())
      return refuse(at.field("address_prefix"), "malformed IP address: " + ranges[i].address_prefix());
    auto cidr = Cidr::make(*ip, ranges[i].prefix_len().value());
    if (!cidr.ok()) return refuse(at.field("prefix_len"), cidr.error().message);
    out.push_back(*cidr);
  }
  return out;
}

Result<model::FilterChainMatch> to_match(const proto::FilterChainMatch& in, const FieldPath& path) {
  model::FilterChainMatch out;
  if (in.has_destination_port()) out.destination_port = static_cast<uint16_t>(in.destination_port().value());
  SLUICE_ASSIGN(out.prefix_ranges, to_cidrs(in.prefix_ranges(), path.field("prefix_ranges")));
  SLUICE_ASSIGN(out.direct_source_prefix_ranges,
                to_cidrs(in.direct_source_prefix_ranges(), path.field("direct_source_prefix_ranges")));
  SLUICE_ASSIGN(out.source_prefix_ranges,
                to_cidrs(in.source_prefix_ranges(), path.field("source_prefix_ranges")));
  for (uint32_t port : in.source_ports()) out.source_ports.push_back(static_cast<uint16_t>(port));
  using Type = model::FilterChainMatch::SourceType;
  if (in.source_type() == proto::FilterChainMatch::SAME_IP_OR_LOOPBACK)
    out.source_type = Type::same_ip_or_loopback;
  if (in.source_type() == proto::FilterChainMatch::EXTERNAL) out.source_type = Type::external;
  for (const std::string& name : in.server_names()) out.server_names.push_back(to_lower(name));
  out.transport_protocol = in.transport_protocol();
  out.application_protocols.assign(in.application_protocols().begin(), in.application_protocols().end());
  return out;
}

Result<std::vector<ext::NetworkFilterFactory>> to_filters(const pb::RepeatedPtrField<proto::Filter>& filters,
                                                          FactoryContext& context, const FieldPath& path) {
  std::vector<ext::NetworkFilterFactory> out;
  for (int i = 0; i < filters.size(); ++i) {
    const proto::Filter& filter = filters[i];
    const FieldPath at = path.item(static_cast<size_t>(i));
    SLUICE_ASSIGN(const Unpacked typed, typed_config(filter, context.registry(), "network_filters", at));
    const auto* extension = context.registry().network_filter(typed.type);
    if (extension == nullptr)
      return no_such_extension(at, typed.type, "network filter", context.registry(), "network_filters",
                               filter.name());
    const bool last = i + 1 == filters.size();
    if (extension->terminal && !last)
      return refuse(at, "terminal filter named " + filter.name() + " of type " + extension->name +
                            " must be the last filter in a network filter chain");
    if (!extension->terminal && last)
      return refuse(
          at, "non-terminal filter named " + filter.name() + " of type " + extension->name +
                  " is the last filter in a network filter chain; add one that takes the bytes, such as "
                  "envoy.filters.network.tcp_proxy");
    SLUICE_ASSIGN(auto factory,
                  extension->create(*typed.config, context, at.field("typed_config").to_string()));
    out.push_back(std::move(factory));
  }
  return out;
}

Result<std::shared_ptr<const model::FilterChain>> to_chain(const proto::FilterChain& in,
                                                           FactoryContext& context, const FieldPath& path) {
  auto out = std::make_shared<model::FilterChain>();
  out->name = std::make_shared<const std::string>(in.name());
  if (in.has_transport_socket()) {
    SLUICE_ASSIGN(out->transport,
                  to_downstream_transport(in.transport_socket(), context, path.field("transport_socket")));
  }
  out->transport_socket_connect_timeout = to_duration(in.transport_socket_connect_timeout());
  SLUICE_ASSIGN(out->filters, to_filters(in.filters(), context, path.field("filters")));
  out->hash = hash_of(in);
  return std::shared_ptr<const model::FilterChain>(std::move(out));
}

Status add_chains(const proto::Listener& in, FactoryContext& context, const FieldPath& path,
                  model::Listener& out) {
  const FieldPath chains = path.field("filter_chains");
  if (in.filter_chains().empty() && !in.has_default_filter_chain())
    return refuse(chains, "no filter chains specified");
  std::vector<model::FilterChainMatch> matches;
  std::vector<std::string> names;
  for (int i = 0; i < in.filter_chains_size(); ++i) {
    const FieldPath at = chains.item(static_cast<size_t>(i));
    SLUICE_ASSIGN(auto chain, to_chain(in.filter_chains(i), context, at));
    out.filter_chains.push_back(std::move(chain));
    SLUICE_ASSIGN(auto match,
                  to_match(in.filter_chains(i).filter_chain_match(), at.field("filter_chain_match")));
    matches.push_back(std::move(match));
    names.push_back(in.filter_chains(i).name().empty() ? "[" + std::to_string(i) + "]"
                                                       : in.filter_chains(i).name());
  }
  auto matcher = model::FilterChainMatcher::build(matches, names);
  if (!matcher.ok()) return refuse(chains, matcher.error().message);
  out.matcher = std::move(matcher).value();
  if (in.has_default_filter_chain()) {
    SLUICE_ASSIGN(out.default_filter_chain,
                  to_chain(in.default_filter_chain(), context, path.field("default_filter_chain")));
  }
  return {};
}

// The kernel's limit, which is Envoy's default backlog.
uint32_t somaxconn() {
  uint32_t value = 0;
  std::ifstream("/proc/sys/net/core/somaxconn") >> value;
  return value != 0 ? value : SOMAXCONN;
}

Status add_addresses(const proto::Listener& in, const FieldPath& path, model::Listener& out) {
  if (!in.has_address())
    return refuse(path, "address is necessary: which address and port does this listener take?");
  SLUICE_ASSIGN(out.address, to_address(in.address(), path.field("address")));
  std::optional<bool> v6_only;
  auto note = [&](const envoy::config::core::v3::Address& address, const Address& parsed,
                  const FieldPath& at) -> Status {
    if (!parsed.ip().is_v6()) return {};
    const bool only = !address.socket_address().ipv4_compat();
    if (v6_only && *v6_only != only)
      return refuse(at.field("socket_address"),
                    "ipv4_compat must be the same for all IPv6 addresses of one listener");
    v6_only = only;
    return {};
  };
  SLUICE_TRY(note(in.address(), out.address, path.field("address")));
  const FieldPath more = path.field("additional_addresses");
  for (int i = 0; i < in.additional_addresses_size(); ++i) {
    const FieldPath item = more.item(static_cast<size_t>(i));
    const FieldPath at = item.field("address");
    SLUICE_ASSIGN(Address address, to_address(in.additional_addresses(i).address(), at));
    SLUICE_TRY(note(in.additional_addresses(i).address(), address, at));
    out.additional_addresses.push_back(address);
  }
  out.socket_options.v6_only = v6_only.value_or(false);
  return {};
}

Status add_socket_settings(const proto::Listener& in, const FieldPath& path, model::Listener& out) {
  io::SocketOptions& o = out.socket_options;
  o.transparent = in.transparent().value();
  o.freebind = in.freebind().value();
  o.reuse_port = value_or(in.has_enable_reuse_port(), in.enable_reuse_port(), true);
  if (in.has_tcp_fast_open_queue_length())
    o.raw.push_back(
        int_option(IPPROTO_TCP, TCP_FASTOPEN, static_cast<int>(in.tcp_fast_open_queue_length().value())));
  SLUICE_TRY(add_socket_options(in.socket_options(), path.field("socket_options"), o));
  out.tcp_backlog = value_or(in.has_tcp_backlog_size(), in.tcp_backlog_size(), somaxconn());
  return {};
}

}  // namespace

Result<std::shared_ptr<const model::Listener>> translate(const proto::Listener& in, FactoryContext& context,
                                                         const FieldPath& path) {
  const ext::Registry& registry = context.registry();
  auto out = std::make_shared<model::Listener>();
  SLUICE_TRY(add_addresses(in, path, *out));
  // Envoy names a nameless listener with a random UUID; its address says more.
  out->name = std::make_shared<const std::string>(in.name().empty() ? out->address.to_string() : in.name());
  out->stat_prefix = in.stat_prefix();
  out->bind_to_port =
      value_or(in.has_bind_to_port(), in.bind_to_port(), true) &&
      value_or(in.deprecated_v1().has_bind_to_port(), in.deprecated_v1().bind_to_port(), true);
  out->drain_on_health_check = in.drain_type() == envoy::config::listener::v3::Listener::DEFAULT;
  out->use_original_dst = in.use_original_dst().value();
  out->buffer_limit = value_or(in.has_per_connection_buffer_limit_bytes(),
                               in.per_connection_buffer_limit_bytes(), out->buffer_limit);
  using Direction = model::TrafficDirection;
  if (in.traffic_direction() == envoy::config::core::v3::INBOUND) out->direction = Direction::inbound;
  if (in.traffic_direction() == envoy::config::core::v3::OUTBOUND) out->direction = Direction::outbound;
  context.set_outbound(out->direction == Direction::outbound);

  const FieldPath filters = path.field("listener_filters");
  for (int i = 0; i < in.listener_filters_size(); ++i) {
    const auto& filter = in.listener_filters(i);
    const FieldPath at = filters.item(static_cast<size_t>(i));
    SLUICE_ASSIGN(const Unpacked typed, typed_config(filter, registry, "listener_filters", at));
    const auto* extension = registry.listener_filter(typed.type);
    if (extension == nullptr)
      return no_such_extension(at, typed.type, "listener filter", registry, "listener_filters",
                               filter.name());
    SLUICE_ASSIGN(auto factory,
                  extension->create(*typed.config, context, at.field("typed_config").to_string()));
    PortSet disabled;
    if (filter.has_filter_disabled()) disabled = to_port_set(filter.filter_disabled());
    out->listener_filters.emplace_back(std::move(factory), std::move(disabled));
  }
  if (out->use_original_dst) {
    // Envoy adds the filter by itself, after those of the list.
    const envoy::extensions::filters::listener::original_dst::v3::OriginalDst empty;
    const auto* extension = registry.listener_filter(empty.GetDescriptor()->full_name());
    if (extension == nullptr)
      return refuse(path.field("use_original_dst"), "this build has no original_dst listener filter");
    SLUICE_ASSIGN(auto factory,
                  extension->create(empty, context, path.field("use_original_dst").to_string()));
    out->listener_filters.emplace_back(std::move(factory));
  }
  if (in.has_listener_filters_timeout())
    out->listener_filters_timeout = to_duration(in.listener_filters_timeout());
  out->continue_on_listener_filters_timeout = in.continue_on_listener_filters_timeout();

  SLUICE_TRY(add_chains(in, context, path, *out));

  const FieldPath access_log = path.field("access_log");
  for (int i = 0; i < in.access_log_size(); ++i) {
    SLUICE_ASSIGN(auto logger, context.make_access_logger(
                                   in.access_log(i), access_log.item(static_cast<size_t>(i)).to_string()));
    out->access_logs.push_back(std::move(logger));
  }
  SLUICE_TRY(add_socket_settings(in, path, *out));
  out->max_connections_per_event = in.max_connections_to_accept_per_socket_event().value();
  out->hash = hash_of(in);
  proto::Listener frame(in);
  frame.clear_filter_chains();
  frame.clear_default_filter_chain();
  out->frame_hash = hash_of(frame);
  out->needs = context.take_needs();
  return std::shared_ptr<const model::Listener>(std::move(out));
}

}  // namespace sluice::config
