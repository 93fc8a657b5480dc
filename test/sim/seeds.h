#pragma once

#include <functional>

#include "core/result.h"
#include "test/sim/peer.h"
#include "test/sim/sim_loop.h"

namespace sluice::sim {

// What one seed's scenario works with.
struct Sim {
  explicit Sim(uint64_t seed);

  SimNet net;            // with faults drawn from the seed
  World world{net};
  SimLoop loop{net};
  Random random;         // the scenario's own decisions

  // Notes what is wrong, once; the run ends with it.
  bool check(bool ok, std::string_view what);
  std::string failure;
};

// Runs `scenario` for seeds 0..count-1, or as the environment says: SLUICE_SIM_SEED (that one alone, with its trace on
// stderr) or SLUICE_SIM_SEEDS (how many; _MAX: at most). After each: no descriptor open, no operation in flight, no block held, no timer
// armed. The error names the seed and ends with the trace; an assertion on the way prints them as well.
Status for_each_seed(uint64_t count, const std::function<void(Sim&)>& scenario);

}  // namespace sluice::sim
