#include <signal.h>

#include <cstdio>
#include <map>

#include "command.h"
#include "output.h"
#include "redirect/json.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

volatile sig_atomic_t stopped = 0;

void options(cxxopts::Options& o) {
  o.add_options()("n,count", "stop after so many", cxxopts::value<unsigned>()->default_value("0"), "N");
}

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  SLUICE_ASSIGN(auto redirector, redirect::Redirector::open(context.redirect));
  SLUICE_ASSIGN(auto workloads, redirector->workloads());
  std::map<uint64_t, std::string> names;
  for (const auto& w : workloads) names[w.netns_cookie] = w.spec.name;
  struct sigaction on_signal{};
  on_signal.sa_handler = [](int) { stopped = 1; };
  ::sigaction(SIGINT, &on_signal, nullptr);
  ::sigaction(SIGTERM, &on_signal, nullptr);
  unsigned limit = args["count"].as<unsigned>(), seen = 0;
  auto on_event = [&](const redirect::Redirector::Event& e) {
    if (limit && seen >= limit) return;
    ++seen;
    const auto& o = e.redirect.original;
    std::string name =
        names.contains(o.netns_cookie) ? names[o.netns_cookie] : std::to_string(o.netns_cookie);
    if (context.json) {
      Json j = redirect::redirect_to_json(e.redirect);
      j.set("workload", name).set("decision", e.decision);
      std::printf("%s\n", j.dump().c_str());
    } else {
      std::printf("%-20s %-36s pid %u uid %u -> %s%s\n", name.c_str(), e.decision, o.pid, o.uid,
                  o.address.to_string().c_str(),
                  e.redirect.target.valid() ? (" by " + e.redirect.target.to_string()).c_str() : "");
    }
    std::fflush(stdout);
  };
  SLUICE_TRY(redirector->watch(on_event, [&] { return stopped || (limit && seen >= limit); }));
  return 0;
}

}  // namespace

const Command kWatch = {"watch",
                        "",
                        "outbound decisions as the kernel makes them",
                        "Turns on the BPF side's event ring for as long as it runs (one watcher at a time); "
                        "with -o json one object a line.\n\n"
                        "Example:\n  sluicectl watch -n 20",
                        options,
                        run};

}  // namespace sluice::ctl
