#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "model/config_source.h"
#include "model/dependency.h"
#include "sluice/ext/registry.h"

namespace envoy::config::core::v3 {
class ExtensionConfigSource;
}

namespace sluice::config {

class FactoryContext;
class FieldPath;

// The configuration of an HTTP filter that is discovered (ECDS). Asked by workers for every stream, as a RouteSource.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/extension
class FilterSource : public model::Dependency {
 public:
  virtual uint64_t generation() const = 0;
  virtual std::shared_ptr<const ext::HttpFilterFactory> current() const = 0;  // null: none (yet)
};

// What an HttpFilter.config_discovery asks for.
struct FilterRequest {
  model::ConfigSource source;
  std::string name;
  std::vector<std::string> types;  // full names of the messages it may be configured with
  std::shared_ptr<const ext::HttpFilterFactory> fallback;  // default_config; may be null
  bool ready_with_fallback = false;  // apply_default_config_without_warming
};

// The request, and whether filters of these types are terminal.
struct DiscoveredFilter {
  FilterRequest request;
  bool terminal = false;
};
Result<DiscoveredFilter> to_discovered_filter(const envoy::config::core::v3::ExtensionConfigSource& in,
                                              const std::string& name, FactoryContext& context,
                                              const FieldPath& path);

// A factory whose filters are those of the configuration there is when their stream begins. Without any the stream is
// answered with 500 and NFCF.
ext::HttpFilterFactory make_discovered_factory(std::shared_ptr<const FilterSource> source);

// The factory of one envoy.config.core.v3.TypedExtensionConfig. An error: a type that is not among `types`, or what the
// extension itself says.
Result<std::shared_ptr<const ext::HttpFilterFactory>> make_filter_factory(
    const google::protobuf::Message& extension, const std::vector<std::string>& types,
    FactoryContext& context);

}  // namespace sluice::config
