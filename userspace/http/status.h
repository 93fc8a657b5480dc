#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

#include "http/header_map.h"

namespace sluice::http {

// The number in :status; 0: there is none.
inline uint16_t status_of(const HeaderMap& response) {
  const std::string_view text = response.get(Name::status);
  uint16_t status = 0;
  std::from_chars(text.data(), text.data() + text.size(), status);
  return status;
}

}  // namespace sluice::http
