#include "io/spin.h"

#include <sys/resource.h>

namespace sluice::io {

long Spin::preemptions() {
  rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

}  // namespace sluice::io
