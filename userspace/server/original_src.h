#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"

namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}
namespace envoy::config::listener::v3 {
class Listener;
}

namespace sluice::server {

// Does a listener keep its callers' addresses (the original_src listener filter)? With eBPF every enrolled pod then needs
// a return path (redirect/return_path.h), whose mark is ours: an error, with the field's path, where the filter says another.
Result<bool> uses_original_src(const envoy::config::bootstrap::v3::Bootstrap& bootstrap,
                               uint32_t transparent_mark);
// The same of one listener, whose field paths begin with `at` ("" or ending in a dot).
Result<bool> uses_original_src(const envoy::config::listener::v3::Listener& listener,
                               uint32_t transparent_mark, const std::string& at);

}  // namespace sluice::server
