#include <string>
#include <unordered_set>

#include "core/ascii.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/filters/network/http_connection_manager/config_detail.h"

namespace sluice::extensions::http_connection_manager {
namespace {

namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;
using HeaderValueExtractor = hcm::ScopedRoutes::ScopeKeyBuilder::FragmentBuilder::HeaderValueExtractor;

class FixedScopes final : public model::ScopeSource {
 public:
  FixedScopes(std::string name, std::shared_ptr<const model::ScopeTable> table)
      : name_(std::move(name)), table_(std::move(table)) {}
  bool ready() const override { return true; }
  std::string what() const override { return name_; }
  uint64_t generation() const override { return 1; }
  std::shared_ptr<const model::ScopeTable> current() const override { return table_; }

 private:
  const std::string name_;
  const std::shared_ptr<const model::ScopeTable> table_;
};

Result<model::ScopeKeyFragment> to_fragment(const HeaderValueExtractor& in, const std::string& path) {
  model::ScopeKeyFragment out;
  out.header = to_lower(in.name());
  out.element_separator = in.element_separator();
  // What HTTP/1 calls "host" has one name inside.
  if (out.header == "host") out.header = ":authority";
  switch (in.extract_type_case()) {
    case HeaderValueExtractor::kIndex:
      if (in.index() != 0 && in.element_separator().empty())
        return Error{path + ".index: Index > 0 for empty string element separator."};
      out.element = in.index();
      return out;
    case HeaderValueExtractor::kElement:
      out.element = model::ScopeKeyFragment::Pair{in.element().separator(), in.element().key()};
      return out;
    case HeaderValueExtractor::EXTRACT_TYPE_NOT_SET:
      break;
  }
  return Error{path + ": HeaderValueExtractor extract_type not set: one of element, index"};
}

// Two scopes of one name or key: Envoy takes the last of a list in silence, and refuses those that SRDS sends.
Result<std::shared_ptr<const model::ScopeSource>> to_inline_scopes(const hcm::ScopedRoutes& in,
                                                                   ext::FactoryContext& context,
                                                                   const std::string& path) {
  auto table = std::make_shared<model::ScopeTable>();
  std::unordered_set<std::string> names;
  const auto& list = in.scoped_route_configurations_list().scoped_route_configurations();
  for (int i = 0; i < list.size(); ++i) {
    const std::string at =
        path + ".scoped_route_configurations_list.scoped_route_configurations[" + std::to_string(i) + "]";
    const auto& scope = list[i];
    if (!scope.route_configuration_name().empty())
      return Error{at +
                   ".route_configuration_name: Fetching routes via RDS (route_configuration_name) is not "
                   "supported with inline scoped routes."};
    if (!scope.has_route_configuration())
      return Error{at + ": You must specify a route_configuration with inline scoped routes."};
    if (!names.insert(scope.name()).second)
      return Error{at + ".name: duplicate scoped route configuration '" + scope.name() + "' found"};
    SLUICE_ASSIGN(auto routes,
                  context.make_route_config(scope.route_configuration(), at + ".route_configuration"));
    std::string key;
    for (const auto& fragment : scope.key().fragments()) model::add_to_scope_key(fragment.string_key(), key);
    const auto [other, fresh] = table->by_key.try_emplace(
        std::move(key),
        model::Scope{scope.name(), std::make_shared<model::FixedRoutes>(std::move(routes)), nullptr});
    if (!fresh)
      return Error{at + ".key: scope key conflict found, first scope is '" + other->second.name +
                   "', second scope is '" + scope.name() + "'"};
  }
  return std::shared_ptr<const model::ScopeSource>(
      std::make_shared<FixedScopes>(in.name(), std::move(table)));
}

Status add_scopes(const hcm::ScopedRoutes& in, const std::string& stat_prefix, ext::FactoryContext& context,
                  const std::string& path, Settings& out) {
  const auto& parts = in.scope_key_builder().fragments();
  for (int i = 0; i < parts.size(); ++i) {
    SLUICE_ASSIGN(auto part, to_fragment(parts[i].header_value_extractor(),
                                         path + ".scope_key_builder.fragments[" + std::to_string(i) +
                                             "].header_value_extractor"));
    out.scope_key.push_back(std::move(part));
  }
  if (in.has_scoped_rds()) {
    SLUICE_ASSIGN(out.scopes, context.discover_scopes(in, stat_prefix, path));
  } else {
    SLUICE_ASSIGN(out.scopes, to_inline_scopes(in, context, path));
  }
  return {};
}

}  // namespace

Status add_routes(const Proto& in, ext::FactoryContext& context, const std::string& path, Settings& out) {
  switch (in.route_specifier_case()) {
    case Proto::kRouteConfig: {
      SLUICE_ASSIGN(auto routes, context.make_route_config(in.route_config(), path + ".route_config"));
      out.routes = std::make_shared<model::FixedRoutes>(std::move(routes));
      return {};
    }
    case Proto::kRds: {
      SLUICE_ASSIGN(out.routes, context.discover_routes(in.rds(), in.stat_prefix(), path + ".rds"));
      return {};
    }
    case Proto::kScopedRoutes:
      return add_scopes(in.scoped_routes(), in.stat_prefix(), context, path + ".scoped_routes", out);
    case Proto::ROUTE_SPECIFIER_NOT_SET:
      break;
  }
  return Error{path + ": route_config is missing"};
}

}  // namespace sluice::extensions::http_connection_manager
