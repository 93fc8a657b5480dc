#include "test/sim/seeds.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace sluice::sim {
namespace {

const Sim* g_running = nullptr;

std::string report(const Sim& sim, std::string_view what) {
  const std::string seed = std::to_string(sim.net.seed());
  return "seed " + seed + ": " + std::string(what) + " (again: SLUICE_SIM_SEED=" + seed + ")\n" +
         sim.net.trace_tail();
}

struct sigaction g_before;

// An assertion failed: not safe by the book, but the process ends here and the seed is what one needs to know.
void on_abort(int signal) {
  if (g_running)
    fputs(report(*g_running, g_running->failure.empty() ? "assertion" : g_running->failure).c_str(), stderr);
  sigaction(signal, &g_before, nullptr);
  raise(signal);
}

Faults draw_faults(uint64_t seed) {
  Random r(seed ^ 0x5eed);
  return Faults::random(r);
}

}  // namespace

Sim::Sim(uint64_t seed) : net(seed, draw_faults(seed)), random(seed ^ 0xdecade) {}

bool Sim::check(bool ok, std::string_view what) {
  if (!ok && failure.empty()) failure = what;
  return ok;
}

Status for_each_seed(uint64_t count, const std::function<void(Sim&)>& scenario) {
  uint64_t first = 0;
  const char* one = getenv("SLUICE_SIM_SEED");
  if (one) {
    first = strtoull(one, nullptr, 0);
    count = 1;
  } else if (const char* many = getenv("SLUICE_SIM_SEEDS")) {
    count = strtoull(many, nullptr, 0);
  } else if (const char* most = getenv("SLUICE_SIM_SEEDS_MAX")) {
    count = std::min<uint64_t>(count, strtoull(most, nullptr, 0));
  }
  struct sigaction action{};
  action.sa_handler = on_abort;
  sigaction(SIGABRT, &action, &g_before);
  Status result;
  for (uint64_t seed = first; seed < first + count && result.ok(); ++seed) {
    Sim sim(seed);
    g_running = &sim;
    scenario(sim);
    if (sim.failure.empty()) {
      if (std::string left = sim.loop.leftovers(); !left.empty()) sim.failure = "left over: " + left;
    }
    if (!sim.failure.empty()) result = Error{report(sim, sim.failure)};
    if (one) fputs(sim.net.trace_tail().c_str(), stderr);
    g_running = nullptr;
  }
  sigaction(SIGABRT, &g_before, nullptr);
  return result;
}

}  // namespace sluice::sim
