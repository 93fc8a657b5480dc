#include "extensions/filters/network/http_connection_manager/config.h"

#include <algorithm>
#include <string>

#include "core/ascii.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation.pb.h"
#include "envoy/extensions/request_id/uuid/v3/uuid.pb.h"
#include "extensions/common/proto_header_mutations.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/network/http_connection_manager/config_detail.h"
#include "extensions/filters/network/http_connection_manager/settings.h"

namespace sluice::extensions::http_connection_manager {
namespace {

using FilterList = google::protobuf::RepeatedPtrField<
    envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter>;

// Two filters of one kind may share a name, and with it what routes say to them: istiod has one rbac filter for each action.
template <typename Filter>
bool same_kind(const Filter& a, const Filter& b) {
  const std::string& type = a.typed_config().type_url();
  return a.has_typed_config() && b.has_typed_config() && type == b.typed_config().type_url() &&
         !type.ends_with("TypedStruct");
}

Result<std::vector<ext::ConfiguredHttpFilter>> to_filters(const FilterList& in, ext::FactoryContext& context,
                                                          const std::string& path) {
  if (in.empty())
    return Error{path +
                 ": no HTTP filters: the last one, such as envoy.filters.http.router, answers requests"};
  std::vector<ext::ConfiguredHttpFilter> out;
  for (int i = 0; i < in.size(); ++i) {
    const std::string at = path + "[" + std::to_string(i) + "]";
    SLUICE_ASSIGN(auto filter, context.make_http_filter(in[i], at));
    const bool last = i + 1 == in.size();
    if (filter.terminal && !last)
      return Error{at + ": terminal filter named " + filter.name +
                   " must be the last filter in a http filter chain"};
    if (!filter.terminal && last)
      return Error{at + ": non-terminal filter named " + filter.name +
                   " is the last filter in a http filter chain; add envoy.filters.http.router behind it"};
    if (filter.terminal && filter.disabled)
      return Error{at + ".disabled: the terminal filter cannot be disabled: nobody would answer"};
    for (int j = 0; j < i; ++j) {
      if (out[static_cast<size_t>(j)].name == filter.name && !same_kind(in[i], in[j]))
        return Error{at + ".name: \"" + filter.name +
                     "\" is the name of another kind of filter already; routes configure filters by name"};
    }
    out.push_back(std::move(filter));
  }
  return out;
}

Status add_times(const Proto& in, const std::string& path, Settings& out) {
  auto set = [](bool has, const google::protobuf::Duration& d, Duration& to) {
    if (has) to = to_duration(d);
  };
  set(in.has_stream_idle_timeout(), in.stream_idle_timeout(), out.stream_idle_timeout);
  out.stream_flush_timeout = out.stream_idle_timeout;
  set(in.has_stream_flush_timeout(), in.stream_flush_timeout(), out.stream_flush_timeout);
  set(in.has_request_timeout(), in.request_timeout(), out.request_timeout);
  set(in.has_request_headers_timeout(), in.request_headers_timeout(), out.request_headers_timeout);
  set(in.has_drain_timeout(), in.drain_timeout(), out.drain_timeout);
  set(in.has_delayed_close_timeout(), in.delayed_close_timeout(), out.delayed_close_timeout);
  out.http1_safe_max_connection_duration = in.http1_safe_max_connection_duration();

  const auto& o = in.access_log_options();
  if (in.has_access_log_options() &&
      (in.has_access_log_flush_interval() || in.flush_access_log_on_new_request()))
    return Error{path +
                 ".access_log_options: not together with access_log_flush_interval or "
                 "flush_access_log_on_new_request"};
  set(in.has_access_log_flush_interval(), in.access_log_flush_interval(), out.access_log_flush_interval);
  set(o.has_access_log_flush_interval(), o.access_log_flush_interval(), out.access_log_flush_interval);
  out.access_log_on_request = in.flush_access_log_on_new_request() || o.flush_access_log_on_new_request();
  out.access_log_on_tunnel = o.flush_log_on_tunnel_successfully_established();
  return {};
}

Status add_headers_and_path(const Proto& in, ext::FactoryContext& context, const std::string& path,
                            Settings& out) {
  if (!in.server_name().empty()) out.server_name = in.server_name();
  switch (in.server_header_transformation()) {
    case Proto::APPEND_IF_ABSENT:
      out.server_header = ServerHeader::append_if_absent;
      break;
    case Proto::PASS_THROUGH:
      out.server_header = ServerHeader::pass_through;
      break;
    default:
      out.server_header = ServerHeader::overwrite;
  }
  out.via = in.via();
  for (int i = 0; i < in.early_header_mutation_extensions_size(); ++i) {
    const std::string at = path + ".early_header_mutation_extensions[" + std::to_string(i) + "].typed_config";
    envoy::extensions::http::early_header_mutation::header_mutation::v3::HeaderMutation early;
    const auto& config = in.early_header_mutation_extensions(i).typed_config();
    if (!config.UnpackTo(&early))
      return Error{at + ": " + config.type_url() +
                   " is not supported by this version of Sluice; it has "
                   "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"};
    SLUICE_ASSIGN(auto made, to_mutations(early.mutations(), at + ".mutations"));
    out.early_mutations.insert(out.early_mutations.end(), made.begin(), made.end());
  }
  if (in.add_user_agent().value()) {
    if (context.node_cluster().empty())
      return Error{path +
                   ".add_user_agent: the user agent is the bootstrap's node.cluster, which is not set"};
    out.user_agent = context.node_cluster();
    out.node_id = context.node_id();
  }
  if (in.has_scheme_header_transformation()) {
    out.scheme_to_overwrite = in.scheme_header_transformation().scheme_to_overwrite();
    out.scheme_match_upstream = in.scheme_header_transformation().match_upstream();
  }
  if (in.has_generate_request_id()) out.generate_request_id = in.generate_request_id().value();
  out.preserve_external_request_id = in.preserve_external_request_id();
  out.always_set_request_id_in_response = in.always_set_request_id_in_response();
  if (in.has_request_id_extension() && in.request_id_extension().has_typed_config()) {
    envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig uuid;
    if (!in.request_id_extension().typed_config().UnpackTo(&uuid))
      return Error{path + ".request_id_extension.typed_config: " +
                   in.request_id_extension().typed_config().type_url() +
                   " is not supported by this version of Sluice; it has "
                   "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"};
    if (uuid.has_pack_trace_reason()) out.pack_trace_reason = uuid.pack_trace_reason().value();
    if (uuid.has_use_request_id_for_trace_sampling())
      out.trace_by_request_id = uuid.use_request_id_for_trace_sampling().value();
  }
  out.proxy_100_continue = in.proxy_100_continue();
  if (in.has_add_proxy_protocol_connection_state())
    out.tell_connection = in.add_proxy_protocol_connection_state().value();

  out.normalize_path = in.normalize_path().value();
  out.merge_slashes = in.merge_slashes();
  switch (in.path_with_escaped_slashes_action()) {
    case Proto::REJECT_REQUEST:
      out.escaped_slashes = EscapedSlashes::reject;
      break;
    case Proto::UNESCAPE_AND_REDIRECT:
      out.escaped_slashes = EscapedSlashes::unescape_and_redirect;
      break;
    case Proto::UNESCAPE_AND_FORWARD:
      out.escaped_slashes = EscapedSlashes::unescape_and_forward;
      break;
    default:
      break;
  }
  if (in.strip_matching_host_port() && in.strip_any_host_port())
    return Error{path + ".strip_any_host_port: not together with strip_matching_host_port"};
  if (in.strip_matching_host_port()) out.strip_port = StripPort::matching;
  if (in.strip_any_host_port()) out.strip_port = StripPort::any;
  out.strip_trailing_host_dot = in.strip_trailing_host_dot();
  out.stream_error_on_invalid_message = in.stream_error_on_invalid_http_message().value();
  return {};
}

Status add_upgrades(const Proto& in, ext::FactoryContext& context, const std::string& path, Settings& out) {
  for (int i = 0; i < in.upgrade_configs_size(); ++i) {
    const auto& u = in.upgrade_configs(i);
    const std::string at = path + ".upgrade_configs[" + std::to_string(i) + "]";
    Upgrade upgrade;
    upgrade.type = to_lower(u.upgrade_type());
    for (const Upgrade& other : out.upgrades)
      if (other.type == upgrade.type)
        return Error{at + ".upgrade_type: \"" + u.upgrade_type() + "\" is there already"};
    upgrade.enabled = !u.has_enabled() || u.enabled().value();
    if (u.filters_size() > 0) {
      upgrade.own_filters = true;
      SLUICE_ASSIGN(upgrade.filters, to_filters(u.filters(), context, at + ".filters"));
    }
    out.upgrades.push_back(std::move(upgrade));
  }
  return {};
}

Result<ext::NetworkFilterFactory> create(const google::protobuf::Message& message,
                                         ext::FactoryContext& context, std::string_view at) {
  const auto& in = static_cast<const Proto&>(message);
  const std::string path(at);
  auto settings = std::make_shared<Settings>();
  Settings& out = *settings;
  out.stat_prefix = in.stat_prefix();
  switch (in.codec_type()) {
    case Proto::HTTP1:
      out.codec = CodecType::http1;
      break;
    case Proto::HTTP2:
      out.codec = CodecType::http2;
      break;
    case Proto::HTTP3:
      return Error{path +
                   ".codec_type: HTTP3 needs a QUIC listener, which this version of Sluice has not; "
                   "use AUTO"};
    default:
      break;
  }
  SLUICE_TRY(add_times(in, path, out));
  SLUICE_TRY(add_headers_and_path(in, context, path, out));
  SLUICE_TRY(add_client_address(in, path, out));
  SLUICE_TRY(add_protocols(in, path, out));
  SLUICE_TRY(add_routes(in, context, path, out));
  SLUICE_ASSIGN(out.filters, to_filters(in.http_filters(), context, path + ".http_filters"));
  SLUICE_TRY(add_upgrades(in, context, path, out));
  for (int i = 0; i < in.access_log_size(); ++i) {
    SLUICE_ASSIGN(auto logger, context.make_access_logger(in.access_log(i),
                                                          path + ".access_log[" + std::to_string(i) + "]"));
    out.access_logs.push_back(std::move(logger));
  }
  if (in.has_tracing()) {
    SLUICE_ASSIGN(out.tracing, to_tracing(in, context, path + ".tracing"));
  }
  if (in.has_local_reply_config()) {
    SLUICE_ASSIGN(out.local_replies, to_local_replies(in.local_reply_config(), path + ".local_reply_config"));
  }
  return make_factory(std::move(settings));
}

}  // namespace

ext::Extension<ext::NetworkFilterFactory> extension() {
  return {
      .name = "envoy.filters.network.http_connection_manager",
      .type = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      .terminal = true,
      .create = &create,
      .honoured = {
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
           .fields =
               "codec_type stat_prefix route_config rds scoped_routes http_filters add_user_agent "
               "common_http_protocol_options http1_safe_max_connection_duration http_protocol_options "
               "http2_protocol_options server_name server_header_transformation scheme_header_transformation "
               "max_request_headers_kb stream_idle_timeout stream_flush_timeout request_timeout "
               "request_headers_timeout drain_timeout delayed_close_timeout access_log "
               "access_log_flush_interval flush_access_log_on_new_request access_log_options "
               "use_remote_address xff_num_trusted_hops original_ip_detection_extensions "
               "early_header_mutation_extensions internal_address_config skip_xff_append via "
               "generate_request_id "
               "preserve_external_request_id always_set_request_id_in_response forward_client_cert_details "
               "set_current_client_cert_details "
               "proxy_100_continue represent_ipv4_remote_address_as_ipv4_mapped_ipv6 upgrade_configs "
               "normalize_path merge_slashes path_with_escaped_slashes_action request_id_extension "
               "local_reply_config strip_matching_host_port strip_any_host_port strip_trailing_host_dot "
               "stream_error_on_invalid_http_message append_x_forwarded_port "
               "add_proxy_protocol_connection_state tracing",
           .meaningless = {{"append_local_overload", "there is no overload manager"},
                           {"http3_protocol_options", "codec_type HTTP3 is refused"}}},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
                      "SetCurrentClientCertDetails",
           .fields = "subject cert chain dns uri"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
           .fields = "config_source route_config_name"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes",
           .fields = "name scope_key_builder rds_config_source scoped_route_configurations_list scoped_rds"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes."
                      "ScopeKeyBuilder",
           .fields = "fragments"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes."
                      "ScopeKeyBuilder.FragmentBuilder",
           .fields = "header_value_extractor"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes."
                      "ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor",
           .fields = "*"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes."
                      "ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor.KvElement",
           .fields = "*"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3."
                      "ScopedRouteConfigurationsList",
           .fields = "scoped_route_configurations"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRds",
           .fields = "scoped_rds_config_source"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
           .fields = "name typed_config config_discovery disabled"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
                      "InternalAddressConfig",
           .fields = "unix_sockets cidr_ranges"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
                      "UpgradeConfig",
           .fields = "upgrade_type filters enabled"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
                      "HcmAccessLogOptions",
           .fields = "access_log_flush_interval flush_access_log_on_new_request "
                     "flush_log_on_tunnel_successfully_established"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
           .fields = "typed_config"},
          {.message = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
           .fields = "pack_trace_reason use_request_id_for_trace_sampling"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
                      "Tracing",
           .fields = "*"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig",
           .fields = "mappers body_format"},
          {.message = "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper",
           .fields = "filter status_code body body_format_override headers_to_add"},
          {.message = "envoy.config.core.v3.SchemeHeaderTransformation",
           .fields = "scheme_to_overwrite match_upstream"},
          {.message = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
           .fields = "mutations"},
          {.message = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
           .fields = "xff_num_trusted_hops xff_trusted_cidrs skip_xff_append"},
          {.message = "envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs",
           .fields = "cidrs"},
          {.message = "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig",
           .fields = "header_name allow_extension_to_set_address_as_trusted reject_with_status"},
          {.message = "envoy.type.v3.HttpStatus", .fields = "code"},
          {.message = "envoy.config.core.v3.HttpProtocolOptions",
           .fields = "idle_timeout max_connection_duration max_stream_duration max_headers_count "
                     "max_requests_per_connection headers_with_underscores_action"},
          {.message = "envoy.config.core.v3.Http1ProtocolOptions",
           .fields = "allow_absolute_url accept_http_10 default_host_for_http_10 header_key_format "
                     "enable_trailers allow_chunked_length override_stream_error_on_invalid_http_message"},
          {.message = "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat",
           .fields = "proper_case_words"},
          {.message = "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords",
           .fields = ""},
          {.message = "envoy.config.core.v3.Http2ProtocolOptions",
           .fields = "hpack_table_size max_concurrent_streams initial_stream_window_size "
                     "initial_connection_window_size allow_connect max_outbound_frames "
                     "max_outbound_control_frames max_consecutive_inbound_frames_with_empty_payload "
                     "max_inbound_priority_frames_per_stream "
                     "max_inbound_window_update_frames_per_data_frame_sent "
                     "stream_error_on_invalid_http_messaging "
                     "override_stream_error_on_invalid_http_message connection_keepalive"},
          {.message = "envoy.config.core.v3.KeepaliveSettings", .fields = "*"},
          {.message = "envoy.type.v3.Percent", .fields = "*"},
      }};
}

}  // namespace sluice::extensions::http_connection_manager
