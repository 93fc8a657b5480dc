#include "sluice/ext/stream_info.h"

#include <doctest/doctest.h>

using namespace sluice::ext;

TEST_CASE("response flags are written with Envoy's names") {
  ResponseFlags flags;
  CHECK(flags.to_short_string() == "-");
  CHECK(flags.to_long_string() == "-");
  flags.set(ResponseFlag::upstream_connection_failure);
  flags.set(ResponseFlag::upstream_retry_limit_exceeded);
  flags.set(ResponseFlag::upstream_connection_failure);
  CHECK(flags.to_short_string() == "UF,URX");
  CHECK(flags.to_long_string() == "UpstreamConnectionFailure,UpstreamRetryLimitExceeded");
  flags.clear();
  CHECK_FALSE(flags.any());
  flags.set(ResponseFlag::upstream_retry_limit_exceeded);  // the router: URX, then what the last try came to
  flags.set(ResponseFlag::upstream_connection_failure);
  CHECK(flags.to_short_string() == "URX,UF");
}

TEST_CASE("every response flag has two names of its own") {
  for (unsigned i = 0; i < static_cast<unsigned>(ResponseFlag::count); ++i) {
    auto flag = static_cast<ResponseFlag>(i);
    CHECK(short_name(flag) != "-");
    CHECK(long_name(flag).size() > short_name(flag).size());
    for (unsigned j = 0; j < i; ++j) CHECK(short_name(flag) != short_name(static_cast<ResponseFlag>(j)));
  }
}
