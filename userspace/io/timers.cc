#include "io/timers.h"

#include <algorithm>

namespace sluice::io {

void Timer::arm(MonotonicTime deadline) {
  if (deadline <= timers_.running_) deadline = timers_.running_ + Duration(1);
  deadline_ = deadline;
  Timers::Entry e{deadline, this};
  if (index_ == kIdle) {
    timers_.heap_.push_back(e);
    timers_.sift_up(static_cast<uint32_t>(timers_.heap_.size() - 1), e);
  } else if (deadline < timers_.heap_[index_].deadline) {
    timers_.sift_up(index_, e);
  } else {
    timers_.sift_down(index_, e);
  }
}

void Timer::cancel() {
  if (index_ != kIdle) timers_.remove(index_);
}

void Timers::place(uint32_t i, Entry e) {
  heap_[i] = e;
  e.timer->index_ = i;
}

void Timers::sift_up(uint32_t i, Entry e) {
  while (i > 0) {
    uint32_t parent = (i - 1) / 4;
    if (heap_[parent].deadline <= e.deadline) break;
    place(i, heap_[parent]);
    i = parent;
  }
  place(i, e);
}

void Timers::sift_down(uint32_t i, Entry e) {
  const size_t size = heap_.size();
  for (;;) {
    size_t first = size_t{i} * 4 + 1;
    if (first >= size) break;
    size_t least = first;
    for (size_t c = first + 1; c < std::min(first + 4, size); ++c)
      if (heap_[c].deadline < heap_[least].deadline) least = c;
    if (e.deadline <= heap_[least].deadline) break;
    place(i, heap_[least]);
    i = static_cast<uint32_t>(least);
  }
  place(i, e);
}

void Timers::remove(uint32_t i) {
  heap_[i].timer->index_ = Timer::kIdle;
  Entry last = heap_.back();
  heap_.pop_back();
  if (i == heap_.size()) return;
  if (i > 0 && last.deadline < heap_[(i - 1) / 4].deadline) {
    sift_up(i, last);
  } else {
    sift_down(i, last);
  }
}

void Timers::run(MonotonicTime now) {
  running_ = now;
  while (!heap_.empty() && heap_[0].deadline <= now) {
    Timer* t = heap_[0].timer;
    remove(0);
    t->callback_(*t);  // may destroy it
  }
  running_ = MonotonicTime::min();
}

MonotonicTime Timers::next() const {
  return heap_.empty() ? MonotonicTime::max() : heap_[0].deadline;
}

}  // namespace sluice::io
