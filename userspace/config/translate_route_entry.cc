// Route: what it matches, and the actions that answer themselves.
#include <algorithm>

#include "config/any.h"
#include "config/convert.h"
#include "config/translate_route.h"
#include "core/ascii.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/path/match/uri_template/v3/uri_template_match.pb.h"
#include "envoy/extensions/path/rewrite/uri_template/v3/uri_template_rewrite.pb.h"
#include "extensions/access_loggers/common/formatter.h"
#include "extensions/access_loggers/config.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_tracing.h"
#include "extensions/common/proto_util.h"
#include "extensions/common/uri_template.h"

namespace sluice::config {

namespace proto = envoy::config::route::v3;

namespace {

using PathKind = model::PathMatch::Kind;

Result<model::PathMatch> to_uri_template(const envoy::config::core::v3::TypedExtensionConfig& in,
                                         const FieldPath& path) {
  using envoy::extensions::path::match::uri_template::v3::UriTemplateMatchConfig;
  SLUICE_ASSIGN(const auto message, unpack(in.typed_config(), path));
  if (message->GetDescriptor() != UriTemplateMatchConfig::descriptor())
    return refuse(path, message->GetDescriptor()->full_name() +
                            " is no path matcher that this version of Sluice has; it has " +
                            UriTemplateMatchConfig::descriptor()->full_name());
  model::PathMatch out;
  out.kind = PathKind::uri_template;
  out.text = static_cast<const UriTemplateMatchConfig&>(*message).path_template();
  auto regex = extensions::compile_uri_template(out.text);
  if (!regex.ok())
    return refuse(path.field("path_template"),
                  "'" + out.text + "' is no URI template: " + regex.error().message);
  out.regex = std::move(regex).value();
  return out;
}

Result<model::PathMatch> to_path_match(const proto::RouteMatch& in, const FieldPath& path) {
  model::PathMatch out;
  out.case_sensitive = value_or(in.has_case_sensitive(), in.case_sensitive(), true);
  switch (in.path_specifier_case()) {
    case proto::RouteMatch::kPrefix:
      out.text = in.prefix();
      break;
    case proto::RouteMatch::kPath:
      out.kind = PathKind::exact;
      out.text = in.path();
      break;
    case proto::RouteMatch::kPathSeparatedPrefix:
      out.kind = PathKind::separated_prefix;
      out.text = in.path_separated_prefix();
      break;
    case proto::RouteMatch::kSafeRegex: {
      out.kind = PathKind::regex;
      SLUICE_ASSIGN(out.regex, below(path.field("safe_regex"), extensions::to_regex(in.safe_regex(), "")));
      break;
    }
    case proto::RouteMatch::kPathMatchPolicy:
      return to_uri_template(in.path_match_policy(), path.field("path_match_policy").field("typed_config"));
    case proto::RouteMatch::kConnectMatcher:
      out.kind = PathKind::connect;
      break;
    default:
      return refuse(
          path,
          "one of prefix, path, safe_regex, connect_matcher, path_separated_prefix, path_match_policy is "
          "needed");
  }
  if (!out.case_sensitive) out.text = to_lower(out.text);
  return out;
}

Status add_match(const proto::RouteMatch& in, const FieldPath& path, model::Route& out) {
  SLUICE_ASSIGN(out.path, to_path_match(in, path));
  if (!in.headers().empty()) {
    SLUICE_ASSIGN(out.headers,
                  below(path.field("headers"), extensions::to_header_matchers(in.headers(), "")));
  }
  const FieldPath query = path.field("query_parameters");
  for (int i = 0; i < in.query_parameters_size(); ++i) {
    SLUICE_ASSIGN(auto made, below(query.item(static_cast<size_t>(i)),
                                   extensions::to_query_matcher(in.query_parameters(i), "")));
    out.conditions.edit().query.push_back(std::move(made));
  }
  if (in.has_grpc()) out.conditions.edit().grpc_only = true;
  if (in.tls_context().has_presented())
    out.conditions.edit().tls_presented = in.tls_context().presented().value();
  if (in.tls_context().has_validated())
    out.conditions.edit().tls_validated = in.tls_context().validated().value();
  if (in.has_runtime_fraction())
    out.conditions.edit().fraction = extensions::to_fraction(in.runtime_fraction().default_value());
  return {};
}

uint16_t to_status(proto::RedirectAction::RedirectResponseCode in) {
  switch (in) {
    case proto::RedirectAction::FOUND:
      return 302;
    case proto::RedirectAction::SEE_OTHER:
      return 303;
    case proto::RedirectAction::TEMPORARY_REDIRECT:
      return 307;
    case proto::RedirectAction::PERMANENT_REDIRECT:
      return 308;
    default:
      return 301;
  }
}

Result<model::RedirectAction> to_redirect(const proto::RedirectAction& in, const FieldPath& path) {
  model::RedirectAction out;
  out.status = to_status(in.response_code());
  out.scheme = in.scheme_redirect();
  out.https = in.https_redirect();
  out.host = in.host_redirect();
  if (in.port_redirect() > 65535)
    return refuse(path.field("port_redirect"), std::to_string(in.port_redirect()) + " is no port");
  out.port = in.port_redirect();
  out.strip_query = in.strip_query();
  switch (in.path_rewrite_specifier_case()) {
    case proto::RedirectAction::kPathRedirect:
      out.path_change.edit().path = in.path_redirect();
      break;
    case proto::RedirectAction::kPrefixRewrite:
      out.path_change.edit().prefix_rewrite = in.prefix_rewrite();
      break;
    case proto::RedirectAction::kRegexRewrite: {
      SLUICE_ASSIGN(auto rewrite,
                    below(path.field("regex_rewrite"), extensions::to_rewrite(in.regex_rewrite(), "")));
      out.path_change.edit().regex_rewrite = std::move(rewrite.regex);
      out.path_change.edit().regex_substitution = std::move(rewrite.substitution);
      break;
    }
    default:
      break;
  }
  return out;
}

Result<model::DirectResponseAction> to_direct_response(const proto::DirectResponseAction& in,
                                                       const RouteContext& context, const FieldPath& path) {
  model::DirectResponseAction out;
  out.status = static_cast<uint16_t>(in.status());
  if (in.has_body()) {
    const FieldPath at = path.field("body");
    SLUICE_ASSIGN(out.body, below(at, extensions::read_data_source(in.body(), "")));
    if (out.body.size() > context.max_direct_response_bytes)
      return refuse(at, "response body size is " + std::to_string(out.body.size()) + " bytes; maximum is " +
                            std::to_string(context.max_direct_response_bytes) +
                            " (max_direct_response_body_size_bytes)");
  }
  if (in.has_body_format()) {
    SLUICE_ASSIGN(auto formatter,
                  access_loggers::make_formatter(in.body_format(), path.field("body_format").to_string()));
    out.body_formatter = extensions::header_formatter(std::move(formatter));
    out.content_type = in.body_format().content_type();
    if (out.content_type.empty() && in.body_format().has_json_format()) out.content_type = "application/json";
  }
  return out;
}

Status add_action(const proto::Route& in, const RouteContext& context, const FieldPath& path,
                  model::Route& out) {
  switch (in.action_case()) {
    case proto::Route::kRoute:
      return to_route_action(in.route(), context, path.field("route"),
                             out.action.emplace<model::RouteAction>());
    case proto::Route::kRedirect: {
      SLUICE_ASSIGN(out.action, to_redirect(in.redirect(), path.field("redirect")));
      return {};
    }
    case proto::Route::kDirectResponse: {
      SLUICE_ASSIGN(out.action,
                    to_direct_response(in.direct_response(), context, path.field("direct_response")));
      return {};
    }
    case proto::Route::kNonForwardingAction:
      out.action = model::NonForwardingAction{};
      return {};
    default:
      return refuse(path, "one of route, redirect, direct_response, non_forwarding_action is needed");
  }
}

// A rewrite by template: the variables are those of the match, so that both are needed.
Status add_path_rewrite_policy(const proto::RouteAction& in, const FieldPath& path, model::Route& out) {
  using envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
  const FieldPath policy = path.field("path_rewrite_policy"), at = policy.field("typed_config");
  auto& action = std::get<model::RouteAction>(out.action);
  if (action.rewrites->prefix_rewrite || action.rewrites->regex_rewrite)
    return refuse(policy, "Specify only one of prefix_rewrite, regex_rewrite, path_rewrite_policy");
  SLUICE_ASSIGN(const auto message, unpack(in.path_rewrite_policy().typed_config(), at));
  if (message->GetDescriptor() != UriTemplateRewriteConfig::descriptor())
    return refuse(at, message->GetDescriptor()->full_name() +
                          " is no path rewriter that this version of Sluice has; it has " +
                          UriTemplateRewriteConfig::descriptor()->full_name());
  if (out.path.kind != PathKind::uri_template)
    return refuse(policy,
                  "its variables are those of a match.path_match_policy, which this route does not have");
  const std::string& rewrite = static_cast<const UriTemplateRewriteConfig&>(*message).path_template_rewrite();
  auto made = extensions::compile_uri_rewrite(out.path.text, rewrite);
  if (!made.ok())
    return refuse(at.field("path_template_rewrite"),
                  "'" + rewrite + "' is no rewrite: " + made.error().message);
  action.rewrites.edit().regex_rewrite = std::move(made.value().regex);
  action.rewrites.edit().regex_substitution = std::move(made.value().substitution);
  return {};
}

}  // namespace

Status to_route(const proto::Route& in, const RouteContext& context, const FieldPath& path,
                model::Route& out) {
  out.name = in.name();
  SLUICE_TRY(add_match(in.match(), path.field("match"), out));
  SLUICE_TRY(add_action(in, context, path, out));
  // A template matches no prefix that could be replaced.
  if (out.path.kind == PathKind::uri_template) {
    if (!in.route().prefix_rewrite().empty())
      return refuse(path.field("route").field("prefix_rewrite"),
                    "cannot be used with a match.path_match_policy");
    if (!in.redirect().prefix_rewrite().empty())
      return refuse(path.field("redirect").field("prefix_rewrite"),
                    "cannot be used with a match.path_match_policy");
  }
  if (in.route().has_path_rewrite_policy())
    SLUICE_TRY(add_path_rewrite_policy(in.route(), path.field("route"), out));
  SLUICE_TRY(add_header_rules(in, path, out.header_rules));
  SLUICE_TRY(add_filter_configs(in, context, path, out.filter_configs));
  out.decorator_operation = in.decorator().operation();
  out.decorator_propagate = value_or(in.decorator().has_propagate(), in.decorator().propagate(), true);
  if (in.has_tracing()) {
    SLUICE_ASSIGN(out.tracing, extensions::to_route_tracing(in.tracing(), path.field("tracing").to_string()));
  }
  out.request_body_limit = body_limit(in);
  if (!in.stat_prefix().empty()) out.stat_prefix = in.stat_prefix();
  out.metadata_text = metadata_text(in.metadata());
  return {};
}

}  // namespace sluice::config
