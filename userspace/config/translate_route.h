#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/factory_context.h"
#include "config/path.h"
#include "core/result.h"
#include "model/route.h"

namespace envoy::config::core::v3 {
class Metadata;
}
namespace envoy::config::route::v3 {
class RetryPolicy;
class Route;
class RouteAction;
class RouteAction_RequestMirrorPolicy;
class RouteConfiguration;
}  // namespace envoy::config::route::v3
namespace google::protobuf {
class Any;
}

namespace sluice::config {

// What a translation took from outside of its message and of the RouteConfiguration.
struct FromOutside {
  std::vector<std::string> clusters;  // that have to exist (validate_clusters)
  bool files = false;
};

// Retry policies that were made already, by their bytes: most routes have one of a few.
using RetryPolicies = std::unordered_map<std::string, std::shared_ptr<const model::RetryPolicy>>;

struct RouteContext {
  FactoryContext& factory;
  HasCluster has_cluster = {};  // empty: routes may name any cluster (validate_clusters: false)
  uint32_t max_direct_response_bytes = 4096;
  FromOutside* outside = nullptr;  // null: nobody wants to know
  RetryPolicies& retry_policies;
};

// `validate_clusters`: what holds where the message does not say (Envoy: true for routes that stand in the connection
// manager, false for discovered ones).
Result<std::shared_ptr<const model::RouteConfig>> translate(
    const envoy::config::route::v3::RouteConfiguration& in, FactoryContext& context, bool validate_clusters,
    const FieldPath& path);

// The same without RouteConfig::index(), and what of the world around it is in it.
struct TranslatedRoutes {
  std::shared_ptr<model::RouteConfig> config;
  FromOutside outside;  // of what stands beside the virtual hosts
  std::vector<FromOutside> hosts;
};

// Makes them of a RouteConfiguration that comes in parts, so that thousands of virtual hosts need not be messages at once.
// After an error there is nothing more to be done with it.
class RouteTranslation {
 public:
  RouteTranslation(FactoryContext& context, bool validate_clusters)
      : context_{.factory = context, .retry_policies = retry_policies_},
        validate_clusters_(validate_clusters) {}
  RouteTranslation(const RouteTranslation&) = delete;
  RouteTranslation& operator=(const RouteTranslation&) = delete;
  // What stands beside the virtual hosts; first.
  Status begin(const envoy::config::route::v3::RouteConfiguration& in, const FieldPath& path);
  // The virtual hosts of `in` alone, behind those that were added before.
  Status add_hosts(const envoy::config::route::v3::RouteConfiguration& in, const FieldPath& path);
  void reserve(size_t hosts);
  TranslatedRoutes take() && { return std::move(made_); }

 private:
  bool new_files();  // whether any were read since it was asked

  RetryPolicies retry_policies_;
  RouteContext context_;
  const bool validate_clusters_;
  uint64_t files_ = 0;
  TranslatedRoutes made_;
};

// Its parts, one file each. The first two are written where they stay.
Status to_route(const envoy::config::route::v3::Route& in, const RouteContext& context, const FieldPath& path,
                model::Route& out);
Status to_route_action(const envoy::config::route::v3::RouteAction& in, const RouteContext& context,
                       const FieldPath& path, model::RouteAction& out);
Result<std::shared_ptr<const model::RetryPolicy>> to_retry_policy(
    const envoy::config::route::v3::RetryPolicy& in, const RouteContext& context, const FieldPath& path);
Result<model::MirrorPolicy> to_mirror_policy(
    const envoy::config::route::v3::RouteAction_RequestMirrorPolicy& in, const RouteContext& context,
    const FieldPath& path);
Result<model::FilterConfigs::Entry> to_filter_config(const google::protobuf::Any& in,
                                                     const std::string& filter, const RouteContext& context,
                                                     const FieldPath& path);
Status check_cluster(const std::string& name, const RouteContext& context, std::string_view what,
                     const FieldPath& path);

using model::TextPairs;
Rare<TextPairs> metadata_text(const envoy::config::core::v3::Metadata& in);

// `made`, by something that puts its path (here: "") before an error: the text of the path is made where there is one.
template <typename T>
Result<T>&& below(const FieldPath& path, Result<T>&& made);
// request_headers_to_add and its three siblings, which four messages have.
template <typename Proto>
Status add_header_rules(const Proto& in, const FieldPath& path, Rare<model::HeaderRulesPair>& out);
template <typename Proto>
Status add_filter_configs(const Proto& in, const RouteContext& context, const FieldPath& path,
                          Rare<model::FilterConfigs>& out);
template <typename Proto>
Status add_mirrors(const Proto& in, const RouteContext& context, const FieldPath& path,
                   Rare<std::vector<model::MirrorPolicy>>& out);

}  // namespace sluice::config

#include "config/translate_route_inl.h"
