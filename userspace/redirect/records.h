#pragma once

#include "redirect/pins.h"
#include "redirect/types.h"

struct sluice_redirect;

// From the records in the maps to what callers see.
namespace sluice::redirect {

const char* decision_name(uint32_t decision);  // "outbound.redirected.default"; static storage
OriginalDestination original_from_record(const sluice_redirect& record);
Redirect redirect_from_record(const sluice_redirect& record);

std::vector<Counter> read_counters(const Maps& maps);
// Both sides of every redirected connection (through the iterator program), and the handshakes under way.
Result<std::vector<Redirect>> read_redirects(const Maps& maps);

}  // namespace sluice::redirect
