#include "core/memory.h"

#include <malloc.h>

namespace sluice {

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace sluice
