// RouteAction: where a request goes, and how it is changed on the way.
#include <algorithm>

#include "config/any.h"
#include "config/convert.h"
#include "config/translate_metadata.h"
#include "config/translate_route.h"
#include "core/ascii.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config.pb.h"
#include "envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config.pb.h"
#include "envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_rate_limit.h"

namespace sluice::config {

namespace proto = envoy::config::route::v3;

namespace {

using Action = proto::RouteAction;
using envoy::config::core::v3::Metadata;

Result<model::WeightedCluster> to_weighted_cluster(const proto::WeightedCluster::ClusterWeight& in,
                                                   const RouteContext& context, const FieldPath& path,
                                                   const Metadata& metadata) {
  model::WeightedCluster out;
  if (in.name().empty() == in.cluster_header().empty())
    return refuse(path, in.name().empty() ? "At least one of name or cluster_header need to be specified"
                                          : "Only one of name or cluster_header can be specified");
  if (!in.has_weight()) return refuse(path.field("weight"), "value is required");
  out.name = in.name();
  out.cluster_header = to_lower(in.cluster_header());
  SLUICE_TRY(check_cluster(out.name, context, "weighted cluster", path.field("name")));
  SLUICE_TRY(add_header_rules(in, path, out.headers));
  SLUICE_TRY(add_filter_configs(in, context, path, out.filter_configs));
  out.host_rewrite = in.host_rewrite_literal();
  out.metadata_match = to_metadata_match(in.metadata_match(), metadata);
  return out;
}

Status add_weighted_clusters(const proto::WeightedCluster& in, const RouteContext& context,
                             const Metadata& metadata, const FieldPath& path,
                             model::RouteAction::ClusterChoice& out) {
  const FieldPath field = path.field("clusters");
  for (int i = 0; i < in.clusters_size(); ++i) {
    const FieldPath at = field.item(static_cast<size_t>(i));
    SLUICE_ASSIGN(auto made, to_weighted_cluster(in.clusters(i), context, at, metadata));
    out.weight_total += in.clusters(i).weight().value();
    made.weight_end = out.weight_total;
    out.weighted_clusters.push_back(std::move(made));
  }
  if (out.weight_total > std::numeric_limits<uint32_t>::max())
    return refuse(field, "The sum of weights of all weighted clusters exceeds 4294967295");
  if (out.weight_total == 0)
    return refuse(field, "Sum of weights in the weighted_cluster must be greater than 0.");
  out.weight_header = to_lower(in.header_name());
  out.weight_by_hash = in.use_hash_policy().value();
  return {};
}

Status add_cluster(const Action& in, const RouteContext& context, const FieldPath& path,
                   model::RouteAction& out) {
  switch (in.cluster_specifier_case()) {
    case Action::kCluster:
      out.cluster = in.cluster();
      return check_cluster(out.cluster, context, "cluster", path.field("cluster"));
    case Action::kClusterHeader:
      out.choice.edit().cluster_header = to_lower(in.cluster_header());
      return {};
    case Action::kWeightedClusters:
      return add_weighted_clusters(in.weighted_clusters(), context, in.metadata_match(),
                                   path.field("weighted_clusters"), out.choice.edit());
    default:
      return refuse(path, "one of cluster, cluster_header, weighted_clusters is needed");
  }
}

Status add_path_rewrite(const Action& in, const FieldPath& path, model::RouteAction& out) {
  if (!in.prefix_rewrite().empty()) out.rewrites.edit().prefix_rewrite = in.prefix_rewrite();
  if (!in.has_regex_rewrite()) return {};
  const FieldPath at = path.field("regex_rewrite");
  if (out.rewrites->prefix_rewrite) return refuse(at, "Specify only one of prefix_rewrite, regex_rewrite");
  SLUICE_ASSIGN(auto rewrite, below(at, extensions::to_rewrite(in.regex_rewrite(), "")));
  out.rewrites.edit().regex_rewrite = std::move(rewrite.regex);
  out.rewrites.edit().regex_substitution = std::move(rewrite.substitution);
  return {};
}

Status add_host_rewrite(const Action& in, const FieldPath& path, model::RouteAction& action) {
  using Kind = model::RouteAction::HostRewrite;
  if (in.host_rewrite_specifier_case() == Action::HOST_REWRITE_SPECIFIER_NOT_SET &&
      !in.append_x_forwarded_host())
    return {};
  model::RouteAction::Rewrites& out = action.rewrites.edit();
  out.append_x_forwarded_host = in.append_x_forwarded_host();
  switch (in.host_rewrite_specifier_case()) {
    case Action::kHostRewriteLiteral:
      out.host_rewrite = Kind::literal;
      out.host_rewrite_text = in.host_rewrite_literal();
      break;
    case Action::kAutoHostRewrite:
      if (in.auto_host_rewrite().value()) out.host_rewrite = Kind::from_upstream;
      break;
    case Action::kHostRewriteHeader:
      out.host_rewrite = Kind::header;
      out.host_rewrite_text = to_lower(in.host_rewrite_header());
      break;
    case Action::kHostRewritePathRegex: {
      out.host_rewrite = Kind::path_regex;
      SLUICE_ASSIGN(auto rewrite, below(path.field("host_rewrite_path_regex"),
                                        extensions::to_rewrite(in.host_rewrite_path_regex(), "")));
      out.host_rewrite_regex = std::move(rewrite.regex);
      out.host_rewrite_text = std::move(rewrite.substitution);
      break;
    }
    default:
      break;
  }
  return {};
}

std::optional<Duration> optional_ms(bool present, const google::protobuf::Duration& d) {
  if (!present) return {};
  return to_milliseconds(d);
}

void add_timeouts(const Action& in, model::RouteAction& out) {
  if (in.has_timeout()) out.timeout = to_milliseconds(in.timeout());
  out.max_grpc_timeout = optional_ms(in.has_max_grpc_timeout(), in.max_grpc_timeout());
  if (!in.has_idle_timeout() && !in.has_max_stream_duration() && !in.has_grpc_timeout_offset()) return;
  model::RouteAction::StreamLimits& limits = out.limits.edit();
  limits.idle_timeout = optional_ms(in.has_idle_timeout(), in.idle_timeout());
  const auto& max = in.max_stream_duration();
  limits.max_stream_duration = optional_ms(max.has_max_stream_duration(), max.max_stream_duration());
  limits.grpc_timeout_header_max =
      optional_ms(max.has_grpc_timeout_header_max(), max.grpc_timeout_header_max());
  limits.grpc_timeout_header_offset =
      optional_ms(max.has_grpc_timeout_header_offset(), max.grpc_timeout_header_offset());
  limits.grpc_timeout_offset = optional_ms(in.has_grpc_timeout_offset(), in.grpc_timeout_offset());
}

Status add_hash_policies(const Action& in, const FieldPath& path, model::RouteAction& out) {
  using Kind = model::HashPolicy::Kind;
  const FieldPath field = path.field("hash_policy");
  for (int i = 0; i < in.hash_policy_size(); ++i) {
    const Action::HashPolicy& policy = in.hash_policy(i);
    const FieldPath at = field.item(static_cast<size_t>(i));
    model::HashPolicy made;
    made.terminal = policy.terminal();
    switch (policy.policy_specifier_case()) {
      case Action::HashPolicy::kHeader:
        made.name = to_lower(policy.header().header_name());
        if (policy.header().has_regex_rewrite()) {
          const FieldPath header = at.field("header");
          SLUICE_ASSIGN(auto rewrite, extensions::to_rewrite(policy.header().regex_rewrite(),
                                                             header.field("regex_rewrite").to_string()));
          made.regex = std::move(rewrite.regex);
          made.substitution = std::move(rewrite.substitution);
        }
        break;
      case Action::HashPolicy::kCookie:
        made.kind = Kind::cookie;
        made.name = policy.cookie().name();
        made.cookie_path = policy.cookie().path();
        if (policy.cookie().has_ttl())
          made.cookie_ttl = std::chrono::seconds(policy.cookie().ttl().seconds());
        for (const auto& attribute : policy.cookie().attributes())
          made.cookie_attributes.emplace_back(attribute.name(), attribute.value());
        break;
      case Action::HashPolicy::kConnectionProperties:
        if (!policy.connection_properties().source_ip()) continue;  // Envoy hashes nothing then
        made.kind = Kind::source_ip;
        break;
      case Action::HashPolicy::kQueryParameter:
        made.kind = Kind::query_parameter;
        made.name = policy.query_parameter().name();
        break;
      default:
        return refuse(at, "one of header, cookie, connection_properties, query_parameter is needed");
    }
    out.hash_policies.edit().push_back(std::move(made));
  }
  return {};
}

Status add_upgrades(const Action& in, const FieldPath& path, model::RouteAction& out) {
  const FieldPath field = path.field("upgrade_configs");
  for (int i = 0; i < in.upgrade_configs_size(); ++i) {
    const auto& upgrade = in.upgrade_configs(i);
    const FieldPath at = field.item(static_cast<size_t>(i));
    model::RouteAction::Upgrade made;
    made.type = to_lower(upgrade.upgrade_type());
    made.enabled = value_or(upgrade.has_enabled(), upgrade.enabled(), true);
    if (upgrade.has_connect_config() && made.type != "connect")
      return refuse(at.field("connect_config"),
                    "Non-CONNECT upgrade type " + upgrade.upgrade_type() + " has ConnectConfig");
    made.terminate = upgrade.has_connect_config();
    made.allow_post = upgrade.connect_config().allow_post();
    if (upgrade.connect_config().has_proxy_protocol_config()) {
      using envoy::config::core::v3::ProxyProtocolConfig;
      const bool v1 = upgrade.connect_config().proxy_protocol_config().version() == ProxyProtocolConfig::V1;
      made.proxy_protocol = v1 ? 1 : 2;
    }
    const bool twice =
        std::ranges::any_of(*out.upgrades, [&](const auto& other) { return other.type == made.type; });
    if (twice) return refuse(at, "Duplicate upgrade " + upgrade.upgrade_type());
    out.upgrades.edit().push_back(std::move(made));
  }
  return {};
}

Status add_redirect_predicates(const proto::InternalRedirectPolicy& in, const FieldPath& path,
                               model::RouteAction::InternalRedirect& out) {
  namespace predicates = envoy::extensions::internal_redirect;
  const FieldPath field = path.field("predicates");
  for (int i = 0; i < in.predicates_size(); ++i) {
    const FieldPath item = field.item(static_cast<size_t>(i));
    const FieldPath at = item.field("typed_config");
    SLUICE_ASSIGN(const auto message, unpack(in.predicates(i).typed_config(), at));
    const auto* type = message->GetDescriptor();
    if (type == predicates::safe_cross_scheme::v3::SafeCrossSchemeConfig::descriptor()) {
      out.safe_cross_scheme = true;
    } else if (type == predicates::allow_listed_routes::v3::AllowListedRoutesConfig::descriptor()) {
      using predicates::allow_listed_routes::v3::AllowListedRoutesConfig;
      const auto& names = static_cast<const AllowListedRoutesConfig&>(*message).allowed_route_names();
      std::vector<std::string> allowed;
      for (const std::string& name : names) {
        // Of several lists the target stands in each.
        if (!out.allowed_routes || std::ranges::find(*out.allowed_routes, name) != out.allowed_routes->end())
          allowed.push_back(name);
      }
      out.allowed_routes = std::move(allowed);
    } else if (type == predicates::previous_routes::v3::PreviousRoutesConfig::descriptor()) {
      out.previous_routes = true;
    } else {
      return refuse(at,
                    type->full_name() +
                        " is not a predicate that this version of Sluice has; it has SafeCrossSchemeConfig, "
                        "AllowListedRoutesConfig and PreviousRoutesConfig");
    }
  }
  return {};
}

Status add_internal_redirects(const Action& in, const FieldPath& path, model::RouteAction& out) {
  model::RouteAction::InternalRedirect made;
  if (in.has_internal_redirect_policy()) {
    const auto& policy = in.internal_redirect_policy();
    made.max = value_or(policy.has_max_internal_redirects(), policy.max_internal_redirects(), made.max);
    made.allow_cross_scheme = policy.allow_cross_scheme_redirect();
    if (!policy.redirect_response_codes().empty()) made.codes.clear();
    for (uint32_t code : policy.redirect_response_codes())
      if (code == 301 || code == 302 || code == 303 || code == 307 || code == 308)
        made.codes.push_back(static_cast<uint16_t>(code));
    SLUICE_TRY(add_redirect_predicates(policy, path.field("internal_redirect_policy"), made));
    for (const std::string& name : policy.response_headers_to_copy())
      made.copied_headers.push_back(to_lower(name));
  } else if (in.internal_redirect_action() == Action::HANDLE_INTERNAL_REDIRECT) {
    made.max = value_or(in.has_max_internal_redirects(), in.max_internal_redirects(), made.max);
  } else {
    return {};
  }
  out.internal_redirect = std::move(made);
  return {};
}

}  // namespace

Result<model::MirrorPolicy> to_mirror_policy(const Action::RequestMirrorPolicy& in,
                                             const RouteContext& context, const FieldPath& path) {
  model::MirrorPolicy out;
  if (in.cluster().empty() == in.cluster_header().empty())
    return refuse(path,
                  "Exactly one of cluster or cluster_header in request mirror policy need to be specified");
  out.cluster = in.cluster();
  out.cluster_header = to_lower(in.cluster_header());
  SLUICE_TRY(check_cluster(out.cluster, context, "shadow cluster", path.field("cluster")));
  if (in.has_runtime_fraction())
    out.fraction = extensions::to_fraction(in.runtime_fraction().default_value());
  out.disable_shadow_host_suffix = in.disable_shadow_host_suffix_append();
  if (in.has_trace_sampled()) out.trace_sampled = in.trace_sampled().value();
  return out;
}

Status to_route_action(const Action& in, const RouteContext& context, const FieldPath& path,
                       model::RouteAction& out) {
  if (in.has_metadata_match()) out.metadata_match = to_metadata_match(in.metadata_match());
  SLUICE_TRY(add_cluster(in, context, path, out));
  if (in.cluster_not_found_response_code() == Action::NOT_FOUND) out.cluster_not_found_status = 404;
  if (in.cluster_not_found_response_code() == Action::INTERNAL_SERVER_ERROR)
    out.cluster_not_found_status = 500;
  SLUICE_TRY(add_path_rewrite(in, path, out));
  SLUICE_TRY(add_host_rewrite(in, path, out));
  add_timeouts(in, out);
  if (in.priority() == envoy::config::core::v3::HIGH) out.priority = ext::RoutingPriority::high;
  if (in.has_retry_policy()) {
    SLUICE_ASSIGN(out.retry_policy, to_retry_policy(in.retry_policy(), context, path.field("retry_policy")));
  }
  SLUICE_TRY(add_mirrors(in, context, path, out.mirrors));
  SLUICE_TRY(add_hash_policies(in, path, out));
  SLUICE_TRY(add_upgrades(in, path, out));
  SLUICE_TRY(add_internal_redirects(in, path, out));
  if (!in.rate_limits().empty()) {
    SLUICE_ASSIGN(out.rate_limits,
                  extensions::to_rate_limits(in.rate_limits(), path.field("rate_limits").to_string()));
  }
  out.include_host_rate_limits = in.include_vh_rate_limits().value();
  return {};
}

}  // namespace sluice::config
