#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/address.h"
#include "core/result.h"
#include "model/config_set.h"
#include "server/options.h"
#include "sluice/ext/access_log_manager.h"
#include "sluice/ext/registry.h"

namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}

namespace sluice::server {

// What the process runs: the bootstrap as it was written, and what became of it.
struct Configuration {
  std::shared_ptr<const envoy::config::bootstrap::v3::Bootstrap> bootstrap;
  std::shared_ptr<const model::ConfigSet> set;
  std::optional<Address> admin;          // admin.address
};

// Reads, validates and translates. The error says file, line and field, and the remedy.
Result<Configuration> load_configuration(const Options& options, const ext::Registry& registry,
                                         ext::AccessLogManager& access_logs);

}  // namespace sluice::server
