#pragma once

#include <algorithm>
#include <utility>
#include <vector>

namespace sluice::extensions::rbac {

// Closed intervals, sorted and joined where they overlap: one binary search, however many were put in.
template <typename T>
class Intervals {
 public:
  void add(T first, T last) { list_.emplace_back(std::move(first), std::move(last)); }
  // After the last add().
  void finish() {
    std::sort(list_.begin(), list_.end());
    size_t kept = 0;
    for (size_t i = 1; i < list_.size(); ++i) {
      if (list_[i].first <= list_[kept].second)
        list_[kept].second = std::max(list_[kept].second, list_[i].second);
      else
        list_[++kept] = list_[i];
    }
    if (!list_.empty()) list_.resize(kept + 1);
  }
  bool contains(const T& value) const {
    auto after = std::upper_bound(list_.begin(), list_.end(), value,
                                  [](const T& v, const auto& interval) { return v < interval.first; });
    return after != list_.begin() && value <= std::prev(after)->second;
  }
  bool empty() const { return list_.empty(); }
  size_t size() const { return list_.size(); }

 private:
  std::vector<std::pair<T, T>> list_;
};

}  // namespace sluice::extensions::rbac
