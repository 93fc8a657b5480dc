#include "extensions/filters/http/rbac/rbac.h"

#include "core/log.h"
#include "extensions/common/rbac/stats.h"

namespace sluice::extensions::http_rbac {
namespace {

constexpr std::string_view kName = "envoy.filters.http.rbac";

class Rbac final : public ext::HttpFilter {
 public:
  Rbac(const Settings& settings, rbac::Stats& stats) : settings_(settings), stats_(stats) {}
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(http::HeaderMap& headers, bool) override {
    // A route may hold another filter's configuration under this name; it is none of ours then, as in Envoy.
    const auto* route = dynamic_cast<const Settings*>(context_->route_config());
    const Settings& used = route != nullptr ? *route : settings_;
    const rbac::Subject subject{.info = context_->stream_info(),
                                .headers = &headers,
                                .connection_remote = context_->connection().remote_address()};
    if (used.shadow_rules) decide(true, used, subject);
    if (!used.rules) return ext::HeadersStatus::proceed;
    const rbac::Engine::Verdict verdict = decide(false, used, subject);
    if (verdict.allowed) return ext::HeadersStatus::proceed;
    context_->send_local_reply(
        {.status = 403, .body = "RBAC: access denied", .details = rbac::denial_details(verdict.policy)});
    return ext::HeadersStatus::stop;
  }

 private:
  rbac::Engine::Verdict decide(bool shadow, const Settings& used, const rbac::Subject& subject) {
    const rbac::Engine& engine = shadow ? *used.shadow_rules : *used.rules;
    const rbac::Engine::Verdict verdict = engine.decide(subject);
    ext::StreamInfo& info = context_->stream_info();
    SLUICE_LOG(filter, debug, "[C{}][S{}] RBAC: {} {} by policy {}", info.connection_id, info.http->stream_id,
               shadow ? "shadow" : "enforced", verdict.allowed ? "allowed" : "denied",
               verdict.policy != nullptr ? *verdict.policy : "none");
    stats_.count(shadow, verdict.allowed);
    const bool named = verdict.policy != nullptr && !verdict.policy->empty();
    if (named && used.track_per_rule) stats_.count_policy(shadow, verdict.allowed, *verdict.policy);

    std::string Settings::* member = shadow ? &Settings::shadow_rules_prefix : &Settings::rules_prefix;
    const std::string& prefix = (used.*member).empty() ? settings_.*member : used.*member;
    const std::string kind = prefix + (shadow ? "shadow_" : "enforced_");
    if (named) rbac::set_metadata(info, kName, kind + "effective_policy_id", *verdict.policy);
    rbac::set_metadata(info, kName, kind + "engine_result", verdict.allowed ? "allowed" : "denied");
    if (verdict.log && !shadow) rbac::set_log_hint(info, *verdict.log);
    return verdict;
  }

  const Settings& settings_;  // the filter's
  rbac::Stats& stats_;
  ext::HttpFilterContext* context_ = nullptr;
};

}  // namespace

ext::HttpFilterFactory make_factory(std::shared_ptr<const Settings> settings) {
  return [=](const ext::HttpFilterScope& scope) -> ext::HttpFilterMaker {
    auto stats = std::make_shared<rbac::Stats>(scope.root, scope.stat_prefix, settings->rules_prefix,
                                               settings->shadow_rules_prefix);
    return [=] { return std::make_unique<Rbac>(*settings, *stats); };
  };
}

}  // namespace sluice::extensions::http_rbac
