#pragma once

#include "test/unit/config/verdicts.h"

// Configurations with PROXY headers, on either side, and what Envoy and Sluice say of them, as in verdicts.h.
namespace sluice::config::test {

#define PROXY_UPSTREAM(fields)                                \
  CLUSTER("transport_socket: {name: x, typed_config: {" TYPE( \
      "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport") ", " fields "}}, " ASSIGNED)
#define RAW \
  "transport_socket: {name: raw, typed_config: {" TYPE("transport_sockets.raw_buffer.v3.RawBuffer") "}}"
#define PROXY_PROTOCOL(fields)                                       \
  LISTENER(AT ", listener_filters: [{name: x, typed_config: {" TYPE( \
      "filters.listener.proxy_protocol.v3.ProxyProtocol") ", " fields "}}], " CHAIN)

inline constexpr Row kProxyProtocolRows[] = {
    {"proxy_protocol", Verdict::accepted,
     PROXY_PROTOCOL("allow_requests_without_proxy_protocol: true, disallowed_versions: [V1], stat_prefix: a, "
                    "rules: [{tlv_type: 2, on_tlv_present: {key: a}}]")},
    {"every PROXY version disallowed", Verdict::refused, PROXY_PROTOCOL("disallowed_versions: [V2, V1]"),
     "disallowed_versions"},
    {"a TLV without a key", Verdict::refused, PROXY_PROTOCOL("rules: [{tlv_type: 2, on_tlv_present: {}}]"),
     "rules[0].on_tlv_present.key"},
    {"a TLV's type above 255", Verdict::refused,
     PROXY_PROTOCOL("rules: [{tlv_type: 256, on_tlv_present: {key: a}}]"), "rules[0].tlv_type"},
    {"TLVs into filter state", Verdict::stricter, PROXY_PROTOCOL("tlv_location: FILTER_STATE"),
     "tlv_location"},
    {"TLVs for upstreams", Verdict::stricter, PROXY_PROTOCOL("pass_through_tlvs: {match_type: INCLUDE_ALL}"),
     "pass_through_tlvs"},
    {"a PROXY header", Verdict::accepted,
     PROXY_UPSTREAM("config: {version: V2, added_tlvs: [{type: 224, value: YQ==}]}, " RAW)},
    {"a PROXY header before nothing", Verdict::refused, PROXY_UPSTREAM("config: {}"), "transport_socket"},
    {"a PROXY header before what is not there", Verdict::refused,
     PROXY_UPSTREAM(
         "config: {}, transport_socket: {name: x, typed_config: {" TYPE("filters.network.echo.v3.Echo") "}}"),
     "typed_config.transport_socket"},
    {"a TLV to add without a value", Verdict::refused,
     PROXY_UPSTREAM("config: {version: V2, added_tlvs: [{type: 224}]}, " RAW), "added_tlvs[0].value"},
    {"a TLV to add of a type above 255", Verdict::refused,
     PROXY_UPSTREAM("config: {version: V2, added_tlvs: [{type: 256, value: YQ==}]}, " RAW),
     "added_tlvs[0].type"},
    {"TLVs handed on", Verdict::stricter,
     PROXY_UPSTREAM("config: {version: V2, pass_through_tlvs: {match_type: INCLUDE_ALL}}, " RAW),
     "pass_through_tlvs"},
    {"a TLV put together", Verdict::stricter,
     PROXY_UPSTREAM("config: {version: V2, added_tlvs: [{type: 224, format_string: {text_format_source: "
                    "{inline_string: a}}}]}, " RAW),
     "format_string"},
    {"TLVs in a pool's key", Verdict::stricter, PROXY_UPSTREAM("config: {}, tlv_as_pool_key: true, " RAW),
     "tlv_as_pool_key"},
};

#undef PROXY_PROTOCOL
#undef PROXY_UPSTREAM
#undef RAW

}  // namespace sluice::config::test
