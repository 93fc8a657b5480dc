#include <string>

#include "core/ascii.h"
#include "core/own_address.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/http/original_ip_detection/custom_header/v3/custom_header.pb.h"
#include "envoy/extensions/http/original_ip_detection/xff/v3/xff.pb.h"
#include "extensions/access_loggers/common/filter.h"
#include "extensions/access_loggers/common/formatter.h"
#include "extensions/access_loggers/config.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/network/http_connection_manager/config_detail.h"

namespace sluice::extensions::http_connection_manager {
namespace {

namespace core = envoy::config::core::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;

template <typename List>
Result<std::vector<Cidr>> to_cidrs(const List& in, const std::string& path) {
  std::vector<Cidr> out;
  for (int i = 0; i < in.size(); ++i) {
    const std::string at = path + "[" + std::to_string(i) + "]";
    auto ip = IpAddress::parse(in[i].address_prefix());
    if (!ip.ok()) return Error{at + ".address_prefix: malformed IP address: " + in[i].address_prefix()};
    auto cidr = Cidr::make(*ip, in[i].prefix_len().value());
    if (!cidr.ok()) return Error{at + ".prefix_len: " + cidr.error().message};
    out.push_back(*cidr);
  }
  return out;
}

Result<IpDetection> to_detection(const core::TypedExtensionConfig& in, const std::string& path) {
  IpDetection out;
  envoy::extensions::http::original_ip_detection::xff::v3::XffConfig xff;
  envoy::extensions::http::original_ip_detection::custom_header::v3::CustomHeaderConfig header;
  if (in.typed_config().UnpackTo(&xff)) {
    out.trusted_hops = xff.xff_num_trusted_hops();
    out.skip_append = !xff.has_skip_xff_append() || xff.skip_xff_append().value();
    if (xff.has_xff_trusted_cidrs()) {
      if (xff.xff_num_trusted_hops() > 0)
        return Error{path + ".typed_config.xff_trusted_cidrs: not together with xff_num_trusted_hops"};
      SLUICE_ASSIGN(out.trusted_cidrs, to_cidrs(xff.xff_trusted_cidrs().cidrs(),
                                                path + ".typed_config.xff_trusted_cidrs.cidrs"));
    }
    return out;
  }
  if (in.typed_config().UnpackTo(&header)) {
    out.kind = IpDetection::Kind::custom_header;
    out.header = to_lower(header.header_name());
    out.trusted = header.allow_extension_to_set_address_as_trusted();
    if (header.has_reject_with_status()) {
      const int code = header.reject_with_status().code();
      out.reject_status = static_cast<uint16_t>(code >= 400 && code < 600 ? code : 403);
    }
    return out;
  }
  return Error{path + ".typed_config: " + in.typed_config().type_url() +
               " is not supported by this version of Sluice; it has "
               "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig and "
               "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"};
}

class Format final : public BodyFormat {
 public:
  explicit Format(std::unique_ptr<access_loggers::Formatter> formatter) : formatter_(std::move(formatter)) {}
  void format(const ext::StreamInfo& info, std::string& out) const override {
    formatter_->format(info, ext::AccessLogType::not_set, out);
  }

 private:
  std::unique_ptr<access_loggers::Formatter> formatter_;
};

Result<std::shared_ptr<const BodyFormat>> to_format(const core::SubstitutionFormatString& in,
                                                    const std::string& path) {
  SLUICE_ASSIGN(auto formatter, access_loggers::make_formatter(in, path));
  auto out = std::make_shared<Format>(std::move(formatter));
  if (!in.content_type().empty())
    out->content_type = in.content_type();
  else if (in.has_json_format())
    out->content_type = "application/json";
  return std::shared_ptr<const BodyFormat>(std::move(out));
}

class MapperFilter final : public ReplyFilter {
 public:
  explicit MapperFilter(access_loggers::FilterPtr filter) : filter_(std::move(filter)) {}
  bool pass(const ext::StreamInfo& info) const override {
    return filter_->pass(info, ext::AccessLogType::not_set);
  }

 private:
  access_loggers::FilterPtr filter_;
};

Result<LocalReplies::Mapper> to_mapper(const hcm::ResponseMapper& in, const std::string& path) {
  LocalReplies::Mapper out;
  SLUICE_ASSIGN(auto filter, access_loggers::make_filter(in.filter(), path + ".filter"));
  out.filter = std::make_shared<MapperFilter>(std::move(filter));
  if (in.has_status_code()) out.status = static_cast<uint16_t>(in.status_code().value());
  if (in.has_body()) {
    SLUICE_ASSIGN(out.body, read_data_source(in.body(), path + ".body"));
  }
  if (in.has_body_format_override()) {
    SLUICE_ASSIGN(out.format, to_format(in.body_format_override(), path + ".body_format_override"));
  }
  SLUICE_TRY(add_headers(in.headers_to_add(), path + ".headers_to_add", out.headers));
  return out;
}

}  // namespace

Result<LocalReplies> to_local_replies(const hcm::LocalReplyConfig& in, const std::string& path) {
  LocalReplies out;
  for (int i = 0; i < in.mappers_size(); ++i) {
    SLUICE_ASSIGN(auto mapper, to_mapper(in.mappers(i), path + ".mappers[" + std::to_string(i) + "]"));
    out.mappers.push_back(std::move(mapper));
  }
  if (in.has_body_format()) {
    SLUICE_ASSIGN(out.format, to_format(in.body_format(), path + ".body_format"));
  }
  return out;
}

Status add_client_address(const Proto& in, const std::string& path, Settings& out) {
  out.own_address = find_own_address();
  out.use_remote_address = in.use_remote_address().value();
  out.xff_num_trusted_hops = in.xff_num_trusted_hops();
  out.skip_xff_append = in.skip_xff_append();
  out.append_x_forwarded_port = in.append_x_forwarded_port();
  out.ipv4_as_mapped = in.represent_ipv4_remote_address_as_ipv4_mapped_ipv6();
  const std::string extensions = path + ".original_ip_detection_extensions";
  if (in.original_ip_detection_extensions_size() > 0) {
    if (out.use_remote_address)
      return Error{extensions + ": Original IP detection extensions and use_remote_address may not be mixed"};
    if (out.xff_num_trusted_hops > 0)
      return Error{extensions +
                   ": Original IP detection extensions and xff_num_trusted_hops may not be mixed"};
  }
  for (int i = 0; i < in.original_ip_detection_extensions_size(); ++i) {
    SLUICE_ASSIGN(auto detection, to_detection(in.original_ip_detection_extensions(i),
                                               extensions + "[" + std::to_string(i) + "]"));
    out.ip_detection.push_back(std::move(detection));
  }
  if (out.ip_detection.empty()) {
    IpDetection xff;
    xff.trusted_hops = out.xff_num_trusted_hops;
    out.ip_detection.push_back(std::move(xff));
  }
  if (in.has_internal_address_config()) {
    out.unix_sockets_internal = in.internal_address_config().unix_sockets();
    SLUICE_ASSIGN(out.internal_cidrs, to_cidrs(in.internal_address_config().cidr_ranges(),
                                               path + ".internal_address_config.cidr_ranges"));
  }
  switch (in.forward_client_cert_details()) {
    case Proto::FORWARD_ONLY:
      out.client_cert = ClientCert::forward_only;
      break;
    case Proto::APPEND_FORWARD:
      out.client_cert = ClientCert::append_forward;
      break;
    case Proto::SANITIZE_SET:
      out.client_cert = ClientCert::sanitize_set;
      break;
    case Proto::ALWAYS_FORWARD_ONLY:
      out.client_cert = ClientCert::always_forward_only;
      break;
    default:
      break;
  }
  const auto& details = in.set_current_client_cert_details();
  out.client_cert_details = {.subject = details.subject().value(),
                             .cert = details.cert(),
                             .chain = details.chain(),
                             .dns = details.dns(),
                             .uri = details.uri()};
  return {};
}

Status add_protocols(const Proto& in, const std::string& path, Settings& out) {
  const auto& common = in.common_http_protocol_options();
  const std::string at = path + ".common_http_protocol_options";
  if (common.has_idle_timeout()) out.idle_timeout = to_duration(common.idle_timeout());
  if (common.has_max_connection_duration())
    out.max_connection_duration = to_duration(common.max_connection_duration());
  if (common.has_max_stream_duration()) out.max_stream_duration = to_duration(common.max_stream_duration());
  out.max_requests_per_connection = common.max_requests_per_connection().value();
  if (common.has_max_response_headers_kb())
    return Error{at + ".max_response_headers_kb: is for upstreams; a downstream sends requests"};
  http::CommonOptions options;
  if (common.has_max_headers_count()) options.max_headers_count = common.max_headers_count().value();
  if (in.has_max_request_headers_kb()) options.max_headers_bytes = in.max_request_headers_kb().value() * 1024;
  switch (common.headers_with_underscores_action()) {
    case core::HttpProtocolOptions::REJECT_REQUEST:
      options.underscores = http::UnderscoreAction::reject_request;
      break;
    case core::HttpProtocolOptions::DROP_HEADER:
      options.underscores = http::UnderscoreAction::drop_header;
      break;
    default:
      break;
  }
  out.http1.common = out.http2.common = options;

  const auto& h1 = in.http_protocol_options();
  const bool invalid_is_stream_error = in.stream_error_on_invalid_http_message().value();
  http::Http1Options& o1 = out.http1.http1;
  o1.allow_absolute_url = !h1.has_allow_absolute_url() || h1.allow_absolute_url().value();
  o1.accept_http_10 = h1.accept_http_10();
  o1.default_host_for_http_10 = h1.default_host_for_http_10();
  o1.enable_trailers = h1.enable_trailers();
  o1.allow_chunked_length = h1.allow_chunked_length();
  o1.override_stream_error = h1.has_override_stream_error_on_invalid_http_message()
                                 ? h1.override_stream_error_on_invalid_http_message().value()
                                 : invalid_is_stream_error;
  if (h1.header_key_format().has_proper_case_words())
    o1.key_format = http::Http1Options::KeyFormat::proper_case;
  if (h1.header_key_format().has_stateful_formatter())
    return Error{path +
                 ".http_protocol_options.header_key_format.stateful_formatter: is not supported by this "
                 "version of Sluice; it has proper_case_words"};

  const auto& h2 = in.http2_protocol_options();
  http::Http2Options& o2 = out.http2.http2;
  auto set = [](bool has, const google::protobuf::UInt32Value& from, uint32_t& to) {
    if (has) to = from.value();
  };
#define SLUICE_H2(field, to) set(h2.has_##field(), h2.field(), o2.to)
  SLUICE_H2(hpack_table_size, hpack_table_size);
  SLUICE_H2(max_concurrent_streams, max_concurrent_streams);
  SLUICE_H2(initial_stream_window_size, initial_stream_window);
  SLUICE_H2(initial_connection_window_size, initial_connection_window);
  SLUICE_H2(max_outbound_frames, max_outbound_frames);
  SLUICE_H2(max_outbound_control_frames, max_outbound_control_frames);
  SLUICE_H2(max_consecutive_inbound_frames_with_empty_payload,
            max_consecutive_inbound_frames_with_empty_payload);
  SLUICE_H2(max_inbound_priority_frames_per_stream, max_inbound_priority_frames_per_stream);
  SLUICE_H2(max_inbound_window_update_frames_per_data_frame_sent,
            max_inbound_window_update_frames_per_data_frame_sent);
#undef SLUICE_H2
  o2.allow_connect = h2.allow_connect();
  o2.override_stream_error = h2.has_override_stream_error_on_invalid_http_message()
                                 ? h2.override_stream_error_on_invalid_http_message().value()
                                 : h2.stream_error_on_invalid_http_messaging() || invalid_is_stream_error;
  const auto& keepalive = h2.connection_keepalive();
  if (keepalive.has_interval()) out.keepalive_interval = to_duration(keepalive.interval());
  if (keepalive.has_timeout()) out.keepalive_timeout = to_duration(keepalive.timeout());
  if (keepalive.has_interval_jitter())
    out.keepalive_jitter_percent = static_cast<uint32_t>(keepalive.interval_jitter().value());
  if (keepalive.has_connection_idle_interval())
    return Error{path +
                 ".http2_protocol_options.connection_keepalive.connection_idle_interval: is not supported "
                 "for downstream connections by this version of Sluice; use interval"};
  return {};
}

}  // namespace sluice::extensions::http_connection_manager
