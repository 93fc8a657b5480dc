#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/translate_secret.h"
#include "xds/secret_watch.h"

namespace sluice::xds {

// The secrets of this process: those of the bootstrap, those that are discovered, and for workloads that have some their
// own. A subscription is shared by all that ask with equal name and source, and ends with the last of them.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret  Control thread.
class Secrets final : public config::Secrets {
 public:
  struct Options {
    // Workloads are intercepted: "default", "ROOTCA" and SPIFFE IDs may be a workload's own. Nobody waits for these names:
    // a workload that has them need not have the configured source.
    bool workloads = false;
  };
  Secrets(io::Loop& loop, const stats::Scope& root, Options options);
  ~Secrets();

  // Until then nothing is asked for. Both outlive this. An error: a source that cannot be used.
  Status start(SubscriptionFactory& factory, const config::Resources& resources);
  // No more updates, and no interest in any; what was given out stays as it is.
  void stop();
  // Called when something may have become ready.
  void when_ready(std::function<void()> f) { around_.on_ready = std::move(f); }
  // Comes over the aggregated stream: whoever needs it cannot be waited for before that is open.
  bool aggregated(const model::Dependency& need) const;

  Status add_static(const google::protobuf::Message& secret, std::string_view path) override;
  Result<std::shared_ptr<const model::CertificateSource>> certificate(
      const std::string& name, const model::ConfigSource* source) override;
  Result<std::shared_ptr<const model::ValidationSource>> validation(
      const std::string& name, const model::ConfigSource* source) override;
  Result<std::shared_ptr<const model::TicketKeySource>> ticket_keys(
      const std::string& name, const model::ConfigSource* source) override;

  const config::StaticSecrets& statics() const { return static_; }
  std::vector<SecretView> view() const;  // of what is discovered, by name
  const std::shared_ptr<WorkloadSecrets>& workloads() const { return workloads_; }
  SecretSurroundings& surroundings() { return around_; }

 private:
  struct Entry {
    std::unique_ptr<SecretWatch> watch;
    std::weak_ptr<const void> shared;
    const model::Dependency* dependency = nullptr;  // the same, while it is there
  };
  template <typename T>
  Result<std::shared_ptr<const model::SecretSource<T>>> get(const std::string& name,
                                                            const model::ConfigSource* source);
  template <typename T>
  Result<std::shared_ptr<const model::SecretSource<T>>> get_static(const std::string& name);
  bool may_be_own(std::string_view name, const char* field) const;
  void forget(const std::string& name);

  const Options options_;
  SecretSurroundings around_;
  config::StaticSecrets static_;
  std::shared_ptr<WorkloadSecrets> workloads_ = std::make_shared<WorkloadSecrets>();
  std::unordered_map<std::string, std::vector<Entry>> entries_;  // by name
  std::shared_ptr<Secrets*> self_;  // what a SharedSecret's end holds weakly: it may come after this
};

}  // namespace sluice::xds
