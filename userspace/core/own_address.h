#pragma once

#include <string>

namespace sluice {

// This host's first IPv4 address that others can use, as x-forwarded-for names the proxy; 127.0.0.1 where there is none.
// Asks the kernel: for start-up and configuration.
std::string find_own_address();

}  // namespace sluice
