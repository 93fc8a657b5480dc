#include "extensions/common/rbac/engine.h"

#include <algorithm>

#include "core/json_string.h"

namespace sluice::extensions::rbac {
namespace {

auto& fields_of(ext::StreamInfo& info, std::string_view filter) {
  if (!info.dynamic_metadata) info.dynamic_metadata = std::make_shared<ext::Metadata>();
  auto it = info.dynamic_metadata->find(filter);
  if (it == info.dynamic_metadata->end()) it = info.dynamic_metadata->try_emplace(std::string(filter)).first;
  return it->second;
}

}  // namespace

Engine::Engine(Action action, std::vector<Policy> policies)
    : action_(action), policies_(std::move(policies)) {
  std::ranges::sort(policies_, {}, &Policy::name);
}

Engine::Verdict Engine::decide(const Subject& subject) const {
  const auto found = std::ranges::find_if(policies_, [&](const Policy& p) {
    return p.permissions->matches(subject) && p.principals->matches(subject);
  });
  const bool matched = found != policies_.end();
  Verdict out{.allowed = true, .policy = matched ? &found->name : nullptr, .log = std::nullopt};
  switch (action_) {
    case Action::allow:
      out.allowed = matched;
      break;
    case Action::deny:
      out.allowed = !matched;
      break;
    case Action::log:
      out.log = matched;
      break;
  }
  return out;
}

std::string denial_details(const std::string* policy) {
  std::string name = policy != nullptr && !policy->empty() ? *policy : "none";
  std::ranges::replace_if(
      name, [](char c) { return std::string_view(" \t\f\v\n\r").find(c) != std::string_view::npos; }, '_');
  return "rbac_access_denied_matched_policy[" + name + "]";
}

void set_metadata(ext::StreamInfo& info, std::string_view filter, std::string key, std::string_view text) {
  std::string json;
  append_json_string(text, json);
  fields_of(info, filter)[std::move(key)] = std::move(json);
}

void set_log_hint(ext::StreamInfo& info, bool log) {
  fields_of(info, "envoy.common")["access_log_hint"] = log ? "true" : "false";
}

}  // namespace sluice::extensions::rbac
