#pragma once

#include <cstddef>

namespace sluice {

// Gives back to the kernel what the heap holds and nobody uses: after work that needed much for a short time. Takes
// milliseconds, and all threads that allocate meanwhile wait.
void release_free_memory();

// Unmaps what is mapped of the program's and its libraries' code and constants; what is needed again comes back from the
// page cache, 64 KiB at a touch, without a read. After start-up, most of whose code (parsing, reflection) does not run
// again: it would count as resident, and as in use when the kernel looks for memory, for ever. Pages with something of
// this process in them (relocations, a tracer's or debugger's breakpoints) stay. Bytes that were unmapped; 0 where
// /proc is not to be had.
size_t release_code_pages();

}  // namespace sluice
