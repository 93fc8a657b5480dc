#pragma once

namespace sluice {

// Gives back to the kernel what the heap holds and nobody uses: after work that needed much for a short time. Takes
// milliseconds, and all threads that allocate meanwhile wait.
void release_free_memory();

}  // namespace sluice
