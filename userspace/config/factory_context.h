#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>

#include "config/path.h"
#include "core/result.h"
#include "sluice/ext/registry.h"

namespace google::protobuf {
class Any;
class Message;
}  // namespace google::protobuf

namespace sluice::config {

// Names of the clusters that routes may go to.
using ClusterNames = std::unordered_set<std::string_view>;

// What factories get while one resource is translated. `clusters`: those that static routes are checked against; null:
// they are not known.
class FactoryContext final : public ext::FactoryContext {
 public:
  FactoryContext(const ext::Registry& registry, ext::AccessLogManager& logs,
                 const ClusterNames* clusters = nullptr, std::string_view node_cluster = {})
      : registry_(registry), logs_(logs), clusters_(clusters), node_cluster_(node_cluster) {}

  const ext::Registry& registry() const { return registry_; }
  const ClusterNames* clusters() const { return clusters_; }

  ext::AccessLogManager& access_logs() override { return logs_; }
  std::string_view node_cluster() const override { return node_cluster_; }
  Result<ext::AccessLoggerPtr> make_access_logger(const google::protobuf::Message& entry,
                                                  std::string_view path) override;
  Result<ext::ConfiguredHttpFilter> make_http_filter(const google::protobuf::Message& entry,
                                                     std::string_view path) override;
  Result<std::shared_ptr<const model::RouteConfig>> make_route_config(const google::protobuf::Message& config,
                                                                      std::string_view path) override;

 private:
  const ext::Registry& registry_;
  ext::AccessLogManager& logs_;
  const ClusterNames* clusters_;
  const std::string node_cluster_;
};

// The content of a typed_config, which every extension needs; its type's full name beside it.
struct Unpacked {
  std::unique_ptr<google::protobuf::Message> config;
  std::string type;
};
Result<Unpacked> unpack_entry(const google::protobuf::Any* any, const std::string& name,
                              const ext::Registry& registry, std::string_view category,
                              const FieldPath& path);
template <typename Entry>
Result<Unpacked> typed_config(const Entry& entry, const ext::Registry& registry, std::string_view category,
                              const FieldPath& path) {
  return unpack_entry(entry.has_typed_config() ? &entry.typed_config() : nullptr, entry.name(), registry,
                      category, path);
}

// Names an extension that is there for one that is not, where the configuration's `name` is a built-in's.
std::string known_names(const ext::Registry& registry, std::string_view category, std::string_view name);
Error no_such_extension(const FieldPath& path, const std::string& type, std::string_view what,
                        const ext::Registry& registry, std::string_view category, std::string_view name);

}  // namespace sluice::config
