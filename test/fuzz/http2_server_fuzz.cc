#include <deque>

#include "test/fuzz/http2_support.h"

namespace sluice::http::fuzz {
namespace {

struct Side final : ServerCallbacks {
  Side(const Http2Config& config, uint8_t habits, BlockPool& pool, Http2Stats& stats)
      : habits(habits), wire(pool), codec(make_http2_server(config, stats, wire, *this)) {
    wire.codec = codec.get();
  }
  StreamReceiver& on_new_stream(Stream& stream) override {
    Taker& t = takers.emplace_back(habits, true, wire.pool);
    t.open(stream);
    return t;
  }
  uint8_t habits;
  test::Wire wire;
  std::deque<Taker> takers;
  std::unique_ptr<ServerConnection> codec;
};

std::string run(std::string_view bytes, uint8_t flags, uint8_t habits, uint64_t seed) {
  BlockPool pool;
  stats::Store store(1);
  Http2Stats stats(store.root(0));
  const Http2Config config = config_of(flags);
  std::string log;
  {
    Side side(config, habits, pool, stats);
    if (flags & 32) side.wire.limit = 1000;
    bool failed = false;
    auto give = [&](std::string_view part) {
      Buffer data;
      data.append(pool, part);
      bool now = side.codec->receive(data).has_value();
      FUZZ_CHECK(now || !failed);  // once broken, always
      failed = now;
    };
    give("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    in_parts(bytes, seed, [&](std::string_view part) {
      give(part);
      if (flags & 64) side.wire.take(1 << 20);
      if (side.takers.size() > 1) side.takers.front().resume();
    });
    if (flags & 128) side.codec->goaway();
    give("");
    if (!failed) side.codec->connection_lost(ResetReason::connection_termination, "");
    log = log_of(side.takers);
  }
  check_nothing_left(stats, pool);
  return log;
}

}  // namespace
}  // namespace sluice::http::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::http::fuzz;
  if (size < 3 || size > 8192) return 0;
  const uint8_t flags = data[0], habits = data[1];
  std::string_view bytes(reinterpret_cast<const char*>(data) + 3, size - 3);
  const uint64_t seed = data[2] + 1;
  std::string whole = run(bytes, flags, habits, 0), parts = run(bytes, flags, habits, seed);
  // What a user does in between may close a stream sooner or later; one that only listens hears the same.
  if (habits == 0) FUZZ_CHECK(whole == parts);
  return 0;
}
