#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/any.h"
#include "config/discovered_filter.h"
#include "config/path.h"
#include "core/result.h"
#include "model/config_source.h"
#include "model/listener.h"
#include "model/route.h"
#include "model/scoped_routes.h"
#include "model/secret.h"
#include "sluice/ext/registry.h"

namespace google::protobuf {
class Any;
class Message;
}  // namespace google::protobuf

namespace sluice::config {

// Is there a cluster of this name? Empty: nobody knows.
using HasCluster = std::function<bool(std::string_view)>;

// What a connection manager with scoped_rds asks for.
struct ScopesRequest {
  model::ConfigSource source;
  std::optional<model::ConfigSource> routes;  // nothing: of scopes that have theirs with them alone
  std::string name, stat_prefix;  // for statistics and people: "http.<stat_prefix>.scoped_rds.<name>."
};

// Where the parts of a listener come from that are discovered beside it. What is asked for with equal arguments is shared.
class Discovery {
 public:
  // `stat_prefix`: the connection manager's, under whose "http.<prefix>.rds.<name>." its statistics are kept. An error:
  // the source cannot be used.
  virtual Result<std::shared_ptr<const model::RouteSource>> routes(const model::ConfigSource& source,
                                                                   const std::string& name,
                                                                   const std::string& stat_prefix) = 0;
  // As Envoy, who asks for the same scopes shares them and the statistics of whoever asked first.
  virtual Result<std::shared_ptr<const model::ScopeSource>> scopes(const ScopesRequest& request) = 0;
  virtual Result<std::shared_ptr<const FilterSource>> filter(const FilterRequest& request) = 0;

 protected:
  ~Discovery() = default;
};

// Where secrets come from. What is asked for with equal arguments is shared. `source` null: static_resources.secrets, or
// the workload's own. An error: there is no such secret, or the source cannot be used.
class Secrets {
 public:
  // An envoy...tls.v3.Secret of static_resources.secrets; all of them come before anything is asked for. An error: it
  // cannot be used, or there is one of its kind and name already.
  virtual Status add_static(const google::protobuf::Message& /*secret*/, std::string_view path) {
    return Error{std::string(path) + ": there is nothing here that could keep secrets"};
  }
  virtual Result<std::shared_ptr<const model::CertificateSource>> certificate(
      const std::string& name, const model::ConfigSource* source) = 0;
  virtual Result<std::shared_ptr<const model::ValidationSource>> validation(
      const std::string& name, const model::ConfigSource* source) = 0;
  virtual Result<std::shared_ptr<const model::TicketKeySource>> ticket_keys(
      const std::string& name, const model::ConfigSource* source) = 0;

 protected:
  ~Secrets() = default;
};

// What factories get while one resource is translated.
class FactoryContext final : public ext::FactoryContext {
 public:
  struct Surroundings {
    HasCluster has_cluster = {};  // routes that stand in a connection manager are checked against these
    std::string node_cluster = {};
    std::string node_id = {};
    std::string node_zone = {};
    ext::TracerFactory default_tracer = {};  // of the bootstrap's tracing.http
    Discovery* discovery = nullptr;  // null: nothing can be discovered
    Secrets* secrets = nullptr;  // null: none can be named
  };
  FactoryContext(const ext::Registry& registry, ext::AccessLogManager& logs)
      : FactoryContext(registry, logs, Surroundings()) {}
  FactoryContext(const ext::Registry& registry, ext::AccessLogManager& logs, Surroundings surroundings)
      : registry_(registry), logs_(logs), around_(std::move(surroundings)) {}

  const ext::Registry& registry() const { return registry_; }
  const HasCluster& has_cluster() const { return around_.has_cluster; }
  // What was discovered since the last call: what the resource needs before it can serve.
  std::vector<std::shared_ptr<const model::Dependency>> take_needs() { return std::exchange(needs_, {}); }

  ext::AccessLogManager& access_logs() override { return logs_; }
  std::string_view node_cluster() const override { return around_.node_cluster; }
  std::string_view node_id() const override { return around_.node_id; }
  std::string_view node_zone() const override { return around_.node_zone; }
  bool outbound() const override { return outbound_; }
  void set_outbound(bool outbound) { outbound_ = outbound; }
  bool knows_cluster(std::string_view name) const override {
    return !around_.has_cluster || around_.has_cluster(name);
  }
  Result<ext::TracerFactory> make_tracer(const google::protobuf::Message* provider,
                                         std::string_view path) override;
  Result<ext::AccessLoggerPtr> make_access_logger(const google::protobuf::Message& entry,
                                                  std::string_view path) override;
  Result<ext::ConfiguredHttpFilter> make_http_filter(const google::protobuf::Message& entry,
                                                     std::string_view path) override;
  Result<std::shared_ptr<const model::RouteConfig>> make_route_config(const google::protobuf::Message& config,
                                                                      std::string_view path) override;
  Result<ext::UpstreamTransportFactory> make_upstream_transport(const google::protobuf::Message& socket,
                                                                std::string_view path) override;
  Result<std::shared_ptr<const model::RouteSource>> discover_routes(const google::protobuf::Message& rds,
                                                                    const std::string& stat_prefix,
                                                                    std::string_view path) override;
  Result<std::shared_ptr<const model::ScopeSource>> discover_scopes(
      const google::protobuf::Message& scoped_routes, const std::string& stat_prefix,
      std::string_view path) override;
  Result<std::shared_ptr<const model::CertificateSource>> find_certificate(
      const google::protobuf::Message& config, std::string_view path) override;
  Result<std::shared_ptr<const model::ValidationSource>> find_validation(
      const google::protobuf::Message& config, std::string_view path) override;
  Result<std::shared_ptr<const model::TicketKeySource>> find_ticket_keys(
      const google::protobuf::Message& config, std::string_view path) override;

 private:
  template <typename T>
  using Find = Result<std::shared_ptr<const model::SecretSource<T>>> (Secrets::*)(const std::string&,
                                                                                  const model::ConfigSource*);
  template <typename T>
  Result<std::shared_ptr<const model::SecretSource<T>>> find_secret(const google::protobuf::Message& config,
                                                                    std::string_view path, Find<T> find);

  const ext::Registry& registry_;
  ext::AccessLogManager& logs_;
  const Surroundings around_;
  bool outbound_ = false;
  std::vector<std::shared_ptr<const model::Dependency>> needs_;
};

// The content of a typed_config, which every extension needs; its type's full name beside it.
struct Unpacked {
  MessagePtr config;
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
