#include "extensions/filters/network/rbac/rbac.h"

#include <optional>

#include "core/log.h"
#include "extensions/common/rbac/stats.h"
#include "io/timers.h"

namespace sluice::extensions::network_rbac {
namespace {

constexpr std::string_view kName = "envoy.filters.network.rbac";
constexpr std::string_view kCloseDetails = "rbac_deny_close";

class Rbac final : public ext::NetworkFilter {
 public:
  Rbac(const Settings& settings, rbac::Stats& stats) : settings_(settings), stats_(stats) {}
  void init(ext::NetworkFilterContext& context) override { context_ = &context; }

  ext::FilterStatus on_data(Buffer& data, bool) override {
    if (denied_) return ext::FilterStatus::stop;
    if (decided_ && !settings_.continuous) return ext::FilterStatus::proceed;
    decided_ = true;
    if (settings_.shadow_rules) decide(true);
    if (!settings_.rules) return ext::FilterStatus::proceed;
    const rbac::Engine::Verdict verdict = decide(false);
    if (verdict.allowed) return ext::FilterStatus::proceed;
    denied_ = true;
    context_->stream_info().bytes_received += data.size();  // nobody behind us will count them
    context_->stream_info().termination_details = rbac::denial_details(verdict.policy);
    if (settings_.delay_deny == Duration{}) {
      context_->connection().close(ext::CloseKind::no_flush, kCloseDetails);
    } else {
      context_->connection().pause_reading();
      delay_.emplace(context_->loop().timers(), &delay_over, this);
      delay_->arm(context_->loop().now() + settings_.delay_deny);
    }
    return ext::FilterStatus::stop;
  }

  void on_end() override {
    if (delay_) delay_->cancel();
  }

 private:
  static void delay_over(io::Timer& timer) {
    timer.owner<Rbac>()->context_->connection().close(ext::CloseKind::no_flush, kCloseDetails);
  }

  rbac::Engine::Verdict decide(bool shadow) {
    ext::StreamInfo& info = context_->stream_info();
    const rbac::Subject subject{
        .info = info, .headers = nullptr, .connection_remote = info.downstream_remote};
    const rbac::Engine& engine = shadow ? *settings_.shadow_rules : *settings_.rules;
    const rbac::Engine::Verdict verdict = engine.decide(subject);
    SLUICE_LOG(filter, debug, "[C{}] RBAC: {} {} by policy {}", info.connection_id,
               shadow ? "shadow" : "enforced", verdict.allowed ? "allowed" : "denied",
               verdict.policy != nullptr ? *verdict.policy : "none");
    stats_.count(shadow, verdict.allowed);
    if (shadow) {
      const std::string& prefix = settings_.shadow_rules_prefix;
      if (verdict.policy != nullptr && !verdict.policy->empty())
        rbac::set_metadata(info, kName, prefix + "shadow_effective_policy_id", *verdict.policy);
      rbac::set_metadata(info, kName, prefix + "shadow_engine_result",
                         verdict.allowed ? "allowed" : "denied");
    } else if (verdict.log) {
      rbac::set_log_hint(info, *verdict.log);
    }
    return verdict;
  }

  const Settings& settings_;
  rbac::Stats& stats_;
  ext::NetworkFilterContext* context_ = nullptr;
  std::optional<io::Timer> delay_;
  bool decided_ = false, denied_ = false;
};

}  // namespace

ext::NetworkFilterFactory make_factory(std::shared_ptr<const Settings> settings) {
  return [=](const ext::NetworkFilterScope& scope) -> ext::NetworkFilterMaker {
    auto stats =
        std::make_shared<rbac::Stats>(scope.root, settings->stat_prefix, "", settings->shadow_rules_prefix);
    return [=] { return std::make_unique<Rbac>(*settings, *stats); };
  };
}

}  // namespace sluice::extensions::network_rbac
