#pragma once

#include "sluice/ext/stream_info.h"

// The connection of which real Envoy 1.40 wrote the records that these tests expect.
inline sluice::ext::StreamInfo recorded_stream() {
  using namespace sluice;
  ext::StreamInfo s;
  auto address = [](std::string_view text) { return Address::parse(text).value(); };
  s.connection_id = 1;
  s.start_time = WallTime{Duration{1795318100'243068000}};
  s.start = MonotonicTime{Duration{1'000'000'000}};
  s.end = s.start + Duration{3'100'000};
  s.downstream_local = s.downstream_direct_local = address("127.0.0.1:19802");
  s.downstream_remote = s.downstream_direct_remote = address("127.0.0.1:56120");
  s.filter_chain_name = std::make_shared<const std::string>("fc1");
  s.upstream_cluster = "c.one";
  s.upstream_remote = address("127.0.0.1:19804");
  s.upstream_local = address("127.0.0.1:43372");
  s.upstream_host_name = "host1";
  s.upstream_connection_id = 2;
  s.upstream_attempts = 1;
  s.upstream_connect_start = s.start + Duration{184'000};
  s.upstream_connect_done = s.start + Duration{239'500};
  s.bytes_received = s.upstream_bytes_sent = 5;
  s.bytes_sent = s.upstream_bytes_received = 10;
  return s;
}

// And one that found nobody at home.
inline sluice::ext::StreamInfo recorded_failure() {
  using namespace sluice;
  ext::StreamInfo s;
  s.start_time = WallTime{Duration{1795318100'250000000}};
  s.start = s.end = MonotonicTime{Duration{1'000'000'000}};
  s.downstream_local = s.downstream_direct_local = Address::parse("[::1]:19803").value();
  s.upstream_cluster = "dead";
  s.upstream_remote = Address::parse("127.0.0.1:1").value();
  s.upstream_attempts = 1;
  s.upstream_connect_start = s.start;
  s.upstream_transport_failure_reason = "delayed connect error: Connection refused";
  s.flags.set(ext::ResponseFlag::upstream_connection_failure);
  s.flags.set(ext::ResponseFlag::upstream_retry_limit_exceeded);
  return s;
}
