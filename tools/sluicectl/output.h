#pragma once

#include <string>
#include <vector>

#include "core/json.h"

namespace sluice::ctl {

// A table for people: columns as wide as their widest cell, headers in capitals, the last column unpadded.
class Table {
 public:
  explicit Table(std::vector<std::string> headers) : rows_{std::move(headers)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() == 1; }
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

void print_json(const Json& json);
std::string or_dash(const std::string& text);
std::string human_bytes(int64_t bytes);     // 1536 → "1.5K"
std::string human_age_ms(int64_t ms);       // 90500 → "1m30s"

}  // namespace sluice::ctl
