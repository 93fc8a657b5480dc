#include "extensions/common/rbac/config.h"

#include <string>

#include "envoy/config/rbac/v3/rbac.pb.h"
#include "envoy/extensions/path/match/uri_template/v3/uri_template_match.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_metadata.h"
#include "extensions/common/uri_template.h"

namespace sluice::extensions::rbac {
namespace {

namespace proto = envoy::config::rbac::v3;

Result<Rule> to_rule(const proto::Permission& in, bool http, const std::string& path);
Result<Rule> to_rule(const proto::Principal& in, bool http, const std::string& path);

// A repeated field of permissions or principals; `path` is the field's.
template <typename List>
Result<std::vector<Rule>> to_rules(const List& in, bool http, const std::string& path) {
  std::vector<Rule> out;
  out.reserve(static_cast<size_t>(in.size()));
  for (int i = 0; i < in.size(); ++i) {
    SLUICE_ASSIGN(Rule rule, to_rule(in[i], http, path + '[' + std::to_string(i) + ']'));
    out.push_back(std::move(rule));
  }
  return out;
}

template <typename Kind, typename List>  // AllOf, AnyOf
Result<Rule> to_list(const List& in, bool http, const std::string& path) {
  SLUICE_ASSIGN(auto rules, to_rules(in, http, path));
  return Rule{Kind{std::move(rules)}};
}

template <typename Proto>
Result<Rule> to_not(const Proto& in, bool http, const std::string& path) {
  SLUICE_ASSIGN(Rule inner, to_rule(in, http, path));
  return Rule{Not{std::make_unique<Rule>(std::move(inner))}};
}

Result<Rule> to_address(AddressOf which, const envoy::config::core::v3::CidrRange& in,
                        const std::string& path) {
  auto ip = IpAddress::parse(in.address_prefix());
  if (!ip.ok()) return Error{path + ".address_prefix: malformed IP address: " + in.address_prefix()};
  auto cidr = Cidr::make(*ip, in.prefix_len().value());
  if (!cidr.ok()) return Error{path + ".prefix_len: " + cidr.error().message};
  return Rule{AddressIn{which, *cidr}};
}

Result<Rule> to_header(const envoy::config::route::v3::HeaderMatcher& in, bool http,
                       const std::string& path) {
  if (!http) return Error{path + ": a header rule is not supported by the RBAC network filter"};
  SLUICE_ASSIGN(auto matcher, to_header_matcher(in, path));
  return Rule{HeaderIs{std::move(matcher)}};
}

Result<Rule> to_path(const envoy::type::matcher::v3::PathMatcher& in, const std::string& path) {
  SLUICE_ASSIGN(auto matcher, to_string_matcher(in.path(), path + ".path"));
  return Rule{PathIs{std::move(matcher)}};
}

Result<Rule> to_metadata(const envoy::type::matcher::v3::MetadataMatcher& in, const std::string& path) {
  SLUICE_ASSIGN(auto matcher, to_metadata_matcher(in, path));
  return Rule{MetadataIs{std::move(matcher)}};
}

Result<Rule> to_metadata(const proto::SourcedMetadata& in, const std::string& path) {
  if (in.metadata_source() != proto::DYNAMIC)
    return Error{path + ".metadata_source: this version of Sluice looks at DYNAMIC metadata alone"};
  return to_metadata(in.metadata_matcher(), path + ".metadata_matcher");
}

Result<Rule> to_ports(const envoy::type::v3::Int32Range& in, const std::string& path) {
  auto wrong = [](int32_t port) { return port < 0 || port > 65536; };
  if (wrong(in.start()))
    return Error{path + ".start: range start " + std::to_string(in.start()) + " is out of bounds"};
  if (wrong(in.end()))
    return Error{path + ".end: range end " + std::to_string(in.end()) + " is out of bounds"};
  if (in.start() >= in.end())
    return Error{path + ": range start " + std::to_string(in.start()) +
                 " cannot be greater or equal than range end " + std::to_string(in.end())};
  return Rule{PortIn{static_cast<uint32_t>(in.start()), static_cast<uint32_t>(in.end())}};
}

Result<Rule> to_template(const envoy::config::core::v3::TypedExtensionConfig& in, const std::string& path) {
  envoy::extensions::path::match::uri_template::v3::UriTemplateMatchConfig config;
  if (!in.typed_config().UnpackTo(&config))
    return Error{
        path + ".typed_config: " + in.typed_config().type_url() +
        " is not envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig, the only kind of "
        "path matcher"};
  auto regex = compile_uri_template(config.path_template());
  if (!regex.ok())
    return Error{path + ".typed_config.path_template: '" + config.path_template() +
                 "' is no URI template: " + regex.error().message};
  return Rule{PathFits{std::move(regex).value()}};
}

Result<Rule> to_peer(const proto::Principal::Authenticated& in, const std::string& path) {
  if (!in.has_principal_name()) return Rule{PeerIs{}};
  SLUICE_ASSIGN(auto name, to_string_matcher(in.principal_name(), path + ".principal_name"));
  return Rule{PeerIs{std::move(name)}};
}

Result<Rule> to_rule(const proto::Permission& in, bool http, const std::string& path) {
  switch (in.rule_case()) {
    case proto::Permission::kAndRules:
      return to_list<AllOf>(in.and_rules().rules(), http, path + ".and_rules.rules");
    case proto::Permission::kOrRules:
      return to_list<AnyOf>(in.or_rules().rules(), http, path + ".or_rules.rules");
    case proto::Permission::kNotRule:
      return to_not(in.not_rule(), http, path + ".not_rule");
    case proto::Permission::kAny:
      return Rule{Always{}};
    case proto::Permission::kHeader:
      return to_header(in.header(), http, path + ".header");
    case proto::Permission::kUrlPath:
      return to_path(in.url_path(), path + ".url_path");
    case proto::Permission::kUriTemplate:
      return to_template(in.uri_template(), path + ".uri_template");
    case proto::Permission::kDestinationIp:
      return to_address(AddressOf::destination, in.destination_ip(), path + ".destination_ip");
    case proto::Permission::kDestinationPort:
      return Rule{PortIn{in.destination_port(), in.destination_port() + 1}};
    case proto::Permission::kDestinationPortRange:
      return to_ports(in.destination_port_range(), path + ".destination_port_range");
    case proto::Permission::kRequestedServerName: {
      SLUICE_ASSIGN(auto matcher,
                    to_string_matcher(in.requested_server_name(), path + ".requested_server_name"));
      return Rule{ServerNameIs{std::move(matcher)}};
    }
    case proto::Permission::kMetadata:
      return to_metadata(in.metadata(), path + ".metadata");
    case proto::Permission::kSourcedMetadata:
      return to_metadata(in.sourced_metadata(), path + ".sourced_metadata");
    default:
      return Error{path + ": this kind of permission is not supported"};
  }
}

Result<Rule> to_rule(const proto::Principal& in, bool http, const std::string& path) {
  switch (in.identifier_case()) {
    case proto::Principal::kAndIds:
      return to_list<AllOf>(in.and_ids().ids(), http, path + ".and_ids.ids");
    case proto::Principal::kOrIds:
      return to_list<AnyOf>(in.or_ids().ids(), http, path + ".or_ids.ids");
    case proto::Principal::kNotId:
      return to_not(in.not_id(), http, path + ".not_id");
    case proto::Principal::kAny:
      return Rule{Always{}};
    case proto::Principal::kAuthenticated:
      return to_peer(in.authenticated(), path + ".authenticated");
    case proto::Principal::kSourceIp:
      return to_address(AddressOf::connection, in.source_ip(), path + ".source_ip");
    case proto::Principal::kDirectRemoteIp:
      return to_address(AddressOf::direct_remote, in.direct_remote_ip(), path + ".direct_remote_ip");
    case proto::Principal::kRemoteIp:
      return to_address(AddressOf::remote, in.remote_ip(), path + ".remote_ip");
    case proto::Principal::kHeader:
      return to_header(in.header(), http, path + ".header");
    case proto::Principal::kUrlPath:
      return to_path(in.url_path(), path + ".url_path");
    case proto::Principal::kMetadata:
      return to_metadata(in.metadata(), path + ".metadata");
    case proto::Principal::kSourcedMetadata:
      return to_metadata(in.sourced_metadata(), path + ".sourced_metadata");
    default:
      return Error{path + ": this kind of principal is not supported"};
  }
}

Result<Policy> to_policy(const std::string& name, const proto::Policy& in, bool http,
                         const std::string& path) {
  SLUICE_ASSIGN(auto permissions, to_rules(in.permissions(), http, path + ".permissions"));
  SLUICE_ASSIGN(auto principals, to_rules(in.principals(), http, path + ".principals"));
  return Policy{name, compile(Rule{AnyOf{std::move(permissions)}}),
                compile(Rule{AnyOf{std::move(principals)}})};
}

}  // namespace

Result<EnginePtr> to_engine(const proto::RBAC& in, bool http, std::string_view path) {
  const std::string base(path);
  Action action = Action::allow;
  if (in.action() == proto::RBAC::DENY) action = Action::deny;
  if (in.action() == proto::RBAC::LOG) action = Action::log;
  std::vector<Policy> policies;
  for (const auto& [name, policy] : in.policies()) {
    SLUICE_ASSIGN(auto made, to_policy(name, policy, http, base + ".policies[\"" + name + "\"]"));
    policies.push_back(std::move(made));
  }
  return EnginePtr(std::make_shared<const Engine>(action, std::move(policies)));
}

std::vector<ext::Honoured> honoured_rules() {
  return {
      {.message = "envoy.config.rbac.v3.RBAC", .fields = "action policies"},
      {.message = "envoy.config.rbac.v3.Policy", .fields = "permissions principals"},
      {.message = "envoy.config.rbac.v3.Permission",
       .fields = "and_rules or_rules any header url_path destination_ip destination_port "
                 "destination_port_range metadata not_rule requested_server_name uri_template "
                 "sourced_metadata"},
      {.message = "envoy.config.rbac.v3.Permission.Set", .fields = "rules"},
      {.message = "envoy.config.rbac.v3.Principal",
       .fields = "and_ids or_ids any authenticated source_ip direct_remote_ip remote_ip header url_path "
                 "metadata not_id sourced_metadata"},
      {.message = "envoy.config.rbac.v3.Principal.Set", .fields = "ids"},
      {.message = "envoy.config.rbac.v3.Principal.Authenticated", .fields = "principal_name"},
      {.message = "envoy.config.rbac.v3.SourcedMetadata", .fields = "*"},
      {.message = "envoy.type.matcher.v3.PathMatcher", .fields = "path"},
      {.message = "envoy.type.v3.Int32Range", .fields = "*"},
  };
}

}  // namespace sluice::extensions::rbac
