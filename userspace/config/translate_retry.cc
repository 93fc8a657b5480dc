// RetryPolicy.
#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "config/any.h"
#include "config/convert.h"
#include "config/translate_metadata.h"
#include "config/translate_route.h"
#include "core/ascii.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/retry/host/omit_canary_hosts/v3/omit_canary_hosts.pb.h"
#include "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.pb.h"
#include "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.pb.h"
#include "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.pb.h"
#include "extensions/common/proto_matchers.h"

namespace sluice::config {

namespace proto = envoy::config::route::v3;
namespace retry = envoy::extensions::retry;

namespace {

constexpr Duration kMillisecond = std::chrono::milliseconds(1);

Status add_host_predicates(const proto::RetryPolicy& in, const FieldPath& path, model::RetryPolicy& out) {
  const FieldPath field = path.field("retry_host_predicate");
  for (int i = 0; i < in.retry_host_predicate_size(); ++i) {
    const FieldPath item = field.item(static_cast<size_t>(i));
    const FieldPath at = item.field("typed_config");
    SLUICE_ASSIGN(const auto message, unpack(in.retry_host_predicate(i).typed_config(), at));
    const auto* type = message->GetDescriptor();
    if (type == retry::host::previous_hosts::v3::PreviousHostsPredicate::descriptor()) {
      out.previous_hosts = true;
    } else if (type == retry::host::omit_canary_hosts::v3::OmitCanaryHostsPredicate::descriptor()) {
      out.omit_canary_hosts = true;
    } else if (type == retry::host::omit_host_metadata::v3::OmitHostMetadataConfig::descriptor()) {
      using retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
      const auto& omitted = static_cast<const OmitHostMetadataConfig&>(*message);
      out.omit_hosts_with = to_metadata_match(omitted.metadata_match()).criteria;
    } else {
      return refuse(at, type->full_name() +
                            " is not a retry_host_predicate that this version of Sluice has; it has "
                            "PreviousHostsPredicate, OmitCanaryHostsPredicate and OmitHostMetadataConfig");
    }
  }
  return {};
}

Status add_priority(const proto::RetryPolicy& in, const FieldPath& path, model::RetryPolicy& out) {
  if (!in.has_retry_priority()) return {};
  using retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
  const FieldPath at = path.field("retry_priority").field("typed_config");
  SLUICE_ASSIGN(const auto message, unpack(in.retry_priority().typed_config(), at));
  if (message->GetDescriptor() != PreviousPrioritiesConfig::descriptor())
    return refuse(at, message->GetDescriptor()->full_name() +
                          " is not a retry_priority that this version of Sluice has; it has "
                          "PreviousPrioritiesConfig");
  const auto frequency = static_cast<const PreviousPrioritiesConfig&>(*message).update_frequency();
  out.previous_priorities = static_cast<uint32_t>(frequency);
  return {};
}

Status add_back_off(const proto::RetryPolicy& in, const FieldPath& path, model::RetryPolicy& out) {
  if (in.has_retry_back_off()) {
    const auto& back_off = in.retry_back_off();
    out.backoff_base = std::max(to_milliseconds(back_off.base_interval()), kMillisecond);
    out.backoff_max = 10 * out.backoff_base;
    if (back_off.has_max_interval()) {
      out.backoff_max = std::max(to_milliseconds(back_off.max_interval()), kMillisecond);
      if (out.backoff_max < out.backoff_base)
        return refuse(path.field("retry_back_off"),
                      "max_interval must be greater than or equal to the base_interval");
    }
  }
  if (!in.has_rate_limited_retry_back_off()) return {};
  const auto& limited = in.rate_limited_retry_back_off();
  for (const auto& header : limited.reset_headers())
    out.reset_headers.push_back({.name = to_lower(header.name()),
                                 .unix_timestamp = header.format() == proto::RetryPolicy::UNIX_TIMESTAMP});
  if (limited.has_max_interval())
    out.rate_limited_max = std::max(to_milliseconds(limited.max_interval()), kMillisecond);
  return {};
}

Result<model::RetryPolicy> make_policy(const proto::RetryPolicy& in, const FieldPath& path) {
  model::RetryPolicy out;
  out.retry_on = model::parse_retry_on(in.retry_on()).bits | model::parse_retry_grpc_on(in.retry_on()).bits;
  out.num_retries = value_or(in.has_num_retries(), in.num_retries(), out.num_retries);
  out.per_try_timeout = to_milliseconds(in.per_try_timeout());
  out.per_try_idle_timeout = to_milliseconds(in.per_try_idle_timeout());
  for (uint32_t code : in.retriable_status_codes())
    if (code < 1000) out.retriable_status_codes.push_back(static_cast<uint16_t>(code));
  SLUICE_ASSIGN(out.retriable_headers, below(path.field("retriable_headers"),
                                             extensions::to_header_matchers(in.retriable_headers(), "")));
  SLUICE_ASSIGN(out.retriable_request_headers,
                below(path.field("retriable_request_headers"),
                      extensions::to_header_matchers(in.retriable_request_headers(), "")));
  SLUICE_TRY(add_host_predicates(in, path, out));
  SLUICE_TRY(add_priority(in, path, out));
  SLUICE_TRY(add_back_off(in, path, out));
  if (in.host_selection_retry_max_attempts() > 0)
    out.host_selection_max_attempts = static_cast<uint32_t>(
        std::min<int64_t>(in.host_selection_retry_max_attempts(), std::numeric_limits<uint32_t>::max()));
  return out;
}

}  // namespace

Result<std::shared_ptr<const model::RetryPolicy>> to_retry_policy(const proto::RetryPolicy& in,
                                                                  const RouteContext& context,
                                                                  const FieldPath& path) {
  auto& shared = context.retry_policies[in.SerializeAsString()];
  if (!shared) {
    SLUICE_ASSIGN(auto made, make_policy(in, path));
    shared = std::make_shared<const model::RetryPolicy>(std::move(made));
  }
  return shared;
}

}  // namespace sluice::config
