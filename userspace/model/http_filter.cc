#include "sluice/ext/http_filter.h"

#include <memory>
#include <new>
#include <vector>

namespace sluice::ext {
namespace {

// Size classes of 64 bytes; a thread keeps so many of each. Larger filters come from the heap.
constexpr size_t kStep = 64, kClasses = 64, kKeep = 256;

struct FreeLists {
  ~FreeLists() {
    for (auto& list : of)
      for (void* p : list) ::operator delete(p);
  }
  std::vector<void*> of[kClasses];
};

std::vector<void*>* list_of(size_t size) {
  thread_local FreeLists lists;
  size_t c = (size + kStep - 1) / kStep;
  return c < kClasses ? &lists.of[c] : nullptr;
}

}  // namespace

void* HttpFilter::operator new(size_t size) {
  std::vector<void*>* list = list_of(size);
  if (!list) return ::operator new(size);
  if (list->empty()) return ::operator new((size + kStep - 1) / kStep * kStep);
  void* p = list->back();
  list->pop_back();
  return p;
}

void HttpFilter::operator delete(void* filter, size_t size) {
  std::vector<void*>* list = list_of(size);
  if (list && list->size() < kKeep)
    list->push_back(filter);
  else
    ::operator delete(filter);
}

}  // namespace sluice::ext
