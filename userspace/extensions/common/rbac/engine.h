#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "extensions/common/rbac/rule.h"

namespace sluice::extensions::rbac {

enum class Action : uint8_t { allow, deny, log };

struct Policy {
  std::string name;
  MatcherPtr permissions, principals;
};

// One set of policies (envoy.config.rbac.v3.RBAC). Immutable, used by all workers.
class Engine {
 public:
  Engine(Action action, std::vector<Policy> policies);
  struct Verdict {
    bool allowed;
    const std::string* policy = nullptr;  // the first by name that matches; null: none does
    std::optional<bool> log;  // action LOG: what access loggers are to be told
  };
  Verdict decide(const Subject& subject) const;

 private:
  const Action action_;
  std::vector<Policy> policies_;  // by name
};
using EnginePtr = std::shared_ptr<const Engine>;

// "rbac_access_denied_matched_policy[NAME]", as Envoy writes it: blanks as "_"; without a policy "none".
std::string denial_details(const std::string* policy);

// Dynamic metadata that was decided on: string values of one namespace.
void set_metadata(ext::StreamInfo& info, std::string_view filter, std::string key, std::string_view text);
// What action LOG leaves behind: envoy.common access_log_hint.
void set_log_hint(ext::StreamInfo& info, bool log);

}  // namespace sluice::extensions::rbac
