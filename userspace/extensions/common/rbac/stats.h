#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/stats.h"

namespace sluice::extensions::rbac {

// What a filter counts, with Envoy's names, on one worker: below "<prefix>rbac." allowed and denied, shadow_allowed and
// shadow_denied, each behind the prefix of its rules; and where asked for the same of single policies.
class Stats {
 public:
  Stats(const stats::Scope& root, std::string_view prefix, std::string_view rules_prefix,
        std::string_view shadow_rules_prefix);
  void count(bool shadow, bool allowed) { (shadow ? shadow_ : enforced_).of(allowed).add(); }
  // Takes a lock the first time.
  void count_policy(bool shadow, bool allowed, std::string_view policy);

 private:
  struct Pair {
    stats::Counter allowed, denied;
    stats::Counter& of(bool a) { return a ? allowed : denied; }
  };
  stats::Counter counter(const std::string& prefix, std::string_view name) const {
    return root_.counter(prefix + std::string(name));
  }
  stats::Scope root_;
  std::string enforced_prefix_, shadow_prefix_;
  Pair enforced_, shadow_;
  std::map<std::string, stats::Counter, std::less<>> policies_;  // by name: no more than are configured
};

}  // namespace sluice::extensions::rbac
