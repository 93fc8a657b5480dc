#pragma once

#include <cstdlib>

#include "sluice/ext/listener_filter.h"

namespace sluice {

// An accepted connection with nobody behind it.
struct ListenerFilterFakeContext final : ext::ListenerFilterContext {
  ext::StreamInfo& stream_info() override { return info; }
  io::Loop& loop() override { std::abort(); }
  std::optional<Address> original_destination() override { return std::nullopt; }
  ext::StreamInfo info;
};

}  // namespace sluice
