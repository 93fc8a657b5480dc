#include "extensions/common/rbac/stats.h"

namespace sluice::extensions::rbac {
namespace {

// With a dot at the end, also where there is one already; nothing stays nothing.
std::string with_dot(std::string prefix) {
  if (!prefix.empty() && !prefix.ends_with('.')) prefix += '.';
  return prefix;
}

}  // namespace

Stats::Stats(const stats::Scope& root, std::string_view prefix, std::string_view rules_prefix,
             std::string_view shadow_rules_prefix)
    : root_(root),
      enforced_prefix_(with_dot(with_dot(std::string(prefix)) + "rbac." + std::string(rules_prefix))),
      shadow_prefix_(with_dot(with_dot(std::string(prefix)) + "rbac." + std::string(shadow_rules_prefix))),
      enforced_{counter(enforced_prefix_, "allowed"), counter(enforced_prefix_, "denied")},
      shadow_{counter(shadow_prefix_, "shadow_allowed"), counter(shadow_prefix_, "shadow_denied")} {}

void Stats::count_policy(bool shadow, bool allowed, std::string_view policy) {
  std::string name = (shadow ? shadow_prefix_ : enforced_prefix_) + "policy.";
  name += policy;
  name += shadow ? ".shadow_" : ".";
  name += allowed ? "allowed" : "denied";
  auto it = policies_.find(name);
  if (it == policies_.end()) it = policies_.emplace(name, root_.counter(name)).first;
  it->second.add();
}

}  // namespace sluice::extensions::rbac
