#include <cstdio>

#include "command.h"
#include "output.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

Result<int> run(const Context& context, const cxxopts::ParseResult&) {
  SLUICE_ASSIGN(auto report, redirect::uninstall(context.redirect));
  if (context.json) {
    Json removed = Json::array(), left = Json::array();
    for (const auto& r : report.removed) removed.push(r);
    for (const auto& l : report.left) left.push(l);
    print_json(Json::object().set("removed", std::move(removed)).set("left", std::move(left)));
    return report.left.empty() ? 0 : 1;
  }
  for (const auto& r : report.removed) std::printf("removed  %s\n", r.c_str());
  for (const auto& l : report.left) std::printf("LEFT     %s\n", l.c_str());
  if (report.removed.empty() && report.left.empty())
    std::printf("Nothing was installed.\n");
  else if (report.left.empty())
    std::printf("Nothing is left: every link, program, map and pin was looked for and is gone.\n");
  return report.left.empty() ? 0 : 1;
}

}  // namespace

const Command kUninstall = {"uninstall",
                            "",
                            "remove every trace of interception from this host, and prove it",
                            "Ends the interception of all workloads, removes links, programs, maps, pins, "
                            "namespace handles and state, then\n"
                            "asks the kernel for each of them by id. Stop sluiced first: it holds the maps, "
                            "and would install again. Exit status\n"
                            "1 when something is left.\n\n"
                            "Example:\n  systemctl stop sluiced && sluicectl uninstall",
                            nullptr,
                            run};

}  // namespace sluice::ctl
