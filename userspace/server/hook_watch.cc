#include "server/hook_watch.h"

#include "core/log.h"

namespace sluice::server {
namespace {

// Some ten system calls each time.
constexpr Duration kInterval = std::chrono::seconds(5);

}  // namespace

HookWatch::HookWatch(io::Loop& loop, const redirect::Redirector& redirector, const stats::Scope& root)
    : loop_(loop), redirector_(redirector), timer_(loop.timers(), &look, this) {
  stats::Scope s = root.scope("redirect").scope("hooks");
  attached_ = s.gauge("attached");
  first_ = s.gauge("first");
  changed_ = s.counter("changed");
  look(timer_);
}

void HookWatch::look(io::Timer& timer) {
  HookWatch& self = *timer.owner<HookWatch>();
  timer.arm(self.loop_.now() + kInterval);
  auto now = self.redirector_.hooks();
  if (!now.ok()) {  // the cgroup is gone, or we may not ask any more
    self.report({.attached = 0, .wanted = 0, .first = false, .text = now.error().message});
    return;
  }
  self.report(*now);
}

void HookWatch::report(const redirect::HookStatus& now) {
  attached_.set(now.attached);
  first_.set(now.first);
  if (now.text == last_) return;
  if (!last_.empty()) changed_.add();
  last_ = now.text;
  if (now.good())
    SLUICE_LOG(redirect, info, "hooks: {}", now.text);
  else if (now.attached == now.wanted)
    SLUICE_LOG(redirect, warn,
               "hooks: another program runs before ours: {}. Where it balances load, we see the address it "
               "chose and not the service's; restart sluiced to attach in front again (linux 6.15 or newer), "
               "or attach "
               "to a child cgroup with --cgroup",
               now.text);
  else
    SLUICE_LOG(redirect, warn, "hooks: {}. Connections pass by us; restart sluiced: it attaches them again",
               now.text);
}

}  // namespace sluice::server
