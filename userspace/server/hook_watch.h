#pragma once

#include <string>

#include "core/stats.h"
#include "io/loop.h"
#include "redirect/redirector.h"

namespace sluice::server {

// Looks again and again whether our hooks are still attached and still run first: the kernel tells nobody when another
// program is put in front of ours. Says so in the log once a change, and in the statistics "redirect.hooks.":
// `attached` (how many of ours; gauge), `first` (1: nothing runs before ours on connect4 and connect6; gauge),
// `changed` (a counter). Control thread.
class HookWatch {
 public:
  // Both outlive this. Looks at once.
  HookWatch(io::Loop& loop, const redirect::Redirector& redirector, const stats::Scope& root);

 private:
  static void look(io::Timer& timer);
  void report(const redirect::HookStatus& now);

  io::Loop& loop_;
  const redirect::Redirector& redirector_;
  stats::Gauge attached_, first_;
  stats::Counter changed_;
  std::string last_;  // what was said
  io::Timer timer_;
};

}  // namespace sluice::server
