#pragma once

#include "redirect/pins.h"

namespace sluice::redirect {

// Writes a workload's rules under `generation`, which nothing points at yet.
Status write_rules(const Maps& maps, uint32_t generation, const WorkloadSpec& spec);
// Deletes every rule of a generation that nothing points at any more.
void erase_rules(const Maps& maps, uint32_t generation);
// enum sluice_workload_flags for a spec.
uint32_t rule_flags(const WorkloadSpec& spec);

}  // namespace sluice::redirect
