#include <deque>

#include "test/fuzz/http2_support.h"

namespace sluice::http::fuzz {
namespace {

struct Side final : ClientCallbacks {
  Side(const Http2Config& config, uint8_t habits, BlockPool& pool, Http2Stats& stats)
      : habits(habits), wire(pool), codec(make_http2_client(config, stats, wire, *this)) {
    wire.codec = codec.get();
  }
  void on_goaway(bool) override {
    FUZZ_CHECK(!away);
    away = true;
  }

  void request(std::string_view method, bool end_stream) {
    if (!codec->can_open_stream()) return;
    Taker& t = takers.emplace_back(habits, false, wire.pool);
    Stream& stream = codec->new_stream(t);
    t.open(stream);
    t.sent_ = end_stream;
    test::Fields fields = {{":method", std::string(method)}, {":authority", "a"}};
    if (method != "CONNECT") fields.insert(fields.end(), {{":scheme", "http"}, {":path", "/"}});
    stream.send_headers(*test::headers(fields), end_stream);
    if (!end_stream && method == "POST") stream.send_data(test::body(wire.pool, 100'000), false);
  }

  uint8_t habits;
  bool away = false;
  test::Wire wire;
  std::deque<Taker> takers;
  std::unique_ptr<ClientConnection> codec;
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
    side.request("GET", true);
    side.request("POST", false);
    side.request("HEAD", true);
    side.request("CONNECT", false);
    bool failed = false;
    in_parts(bytes, seed, [&](std::string_view part) {
      Buffer data;
      data.append(pool, part);
      bool now = side.codec->receive(data).has_value();
      FUZZ_CHECK(now || !failed);
      failed = now;
      if (flags & 64) side.wire.take(1 << 20);
      if (seed && side.takers.size() < 8 && habits & 32) side.request("GET", true);
      side.takers.front().resume();
    });
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
  if (habits == 0) FUZZ_CHECK(whole == parts);
  return 0;
}
