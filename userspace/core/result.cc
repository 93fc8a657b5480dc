#include "core/result.h"

#include <cstring>

namespace sluice {

Error errno_error(int code, std::string_view what) {
  char buf[128];
  return Error{std::string(what) + ": " + strerror_r(code, buf, sizeof buf), code};
}

}  // namespace sluice
