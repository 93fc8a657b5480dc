#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>

#include "http2_frames.h"

// Back-pressure, many streams, random pieces.
using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::test;

namespace {

Http2Config small_windows() {
  Http2Config c;
  c.http2.initial_stream_window = 65535;
  c.http2.initial_connection_window = 1 << 20;
  return c;
}

uint64_t seed_of_run() {
  const char* given = std::getenv("SLUICE_SEED");
  return given ? std::strtoull(given, nullptr, 0) : random_seed();
}

}  // namespace

TEST_CASE("A receiver that does not read holds back its own stream alone") {
  BlockPool pool;
  Client client(pool);
  Server server(pool, small_windows());
  server.setup = [](Receiver& r) {
    r.keep_body = false;
    r.headers_hook = [](Receiver& r) {
      if (r.head->get(Name::path) == "/slow") r.stream->pause_reading();
    };
  };
  Receiver& slow = client.request(request_fields("POST", "/slow"), false);
  Receiver& fast = client.request(request_fields("POST", "/fast"), false);
  pump(client, server);
  slow.stream->send_data(body(pool, 5 << 20), true);
  fast.stream->send_data(body(pool, 5 << 20), true);
  pump(client, server);
  CHECK(server.streams[0].received == 65535);  // the window, not a byte more
  CHECK_FALSE(server.streams[0].end);
  CHECK(server.streams[1].received == 5 << 20);
  CHECK(server.streams[1].end);
  CHECK(client.stats.pending_send_bytes.slot_value() == (5 << 20) - 65535);
  server.streams[0].stream->resume_reading();
  pump(client, server);
  CHECK(server.streams[0].received == 5 << 20);
  CHECK(client.stats.pending_send_bytes.slot_value() == 0);
}

TEST_CASE("pause_reading counts; what paused streams leave behind does not eat the connection's window") {
  BlockPool pool;
  Client client(pool);
  Server server(pool, small_windows());
  server.setup = [](Receiver& r) {
    r.keep_body = false;
    r.headers_hook = [](Receiver& r) {
      r.stream->pause_reading();
      r.stream->pause_reading();
    };
  };
  for (int i = 0; i < 100; ++i) {  // six times the connection's window
    Receiver& r = client.request(request_fields("POST"), false);
    r.stream->send_data(body(pool, 65535), false);
    pump(client, server);
    CHECK(server.streams.back().received == 65535);
    if (i % 2)
      r.stream->reset(ResetReason::local_reset);
    else
      server.streams.back().stream->reset(ResetReason::local_reset);
    pump(client, server);
  }
  Receiver& r = client.request(request_fields("POST"), false);
  r.stream->send_data(body(pool, 200'000), true);
  pump(client, server);
  server.streams.back().stream->resume_reading();
  pump(client, server);
  CHECK(server.streams.back().received == 65535);
  server.streams.back().stream->resume_reading();
  pump(client, server);
  CHECK(server.streams.back().received == 200'000);
}

TEST_CASE("Watermarks of a stream whose peer gives no window") {
  RawClient raw;
  raw.send(post_frame(1));
  Receiver& r = raw.server().streams[0];
  r.stream->set_buffer_limit(100'000);
  r.stream->send_headers(*headers({{":status", "200"}}), false);
  r.stream->send_data(body(raw.pool, 65535 + 100'000), false);
  CHECK_FALSE(r.stream->above_write_high_watermark());
  r.stream->send_data(body(raw.pool, 1), false);
  CHECK(r.stream->above_write_high_watermark());
  CHECK(r.above == 0);  // not from inside its own call
  CHECK(raw.server().wire.soon);
  raw.send("");
  CHECK(r.above == 1);
  raw.send(window_frame(0, 1 << 20) + window_frame(1, 50'000));
  CHECK(r.below == 0);
  raw.send(window_frame(1, 1));
  CHECK(r.below == 1);
  CHECK_FALSE(r.stream->above_write_high_watermark());
  CHECK(r.above == 1);
}

TEST_CASE(
    "Watermarks of the connection are handed to every stream, new ones too; data waits, control frames do "
    "not") {
  RawClient raw;
  Server& server = raw.server();
  raw.send(post_frame(1) + post_frame(3) + window_frame(0, 10 << 20));
  server.codec->on_above_write_high_watermark();
  CHECK(server.streams[0].above == 1);
  CHECK(server.streams[1].above == 1);
  auto frames = raw.send(post_frame(5) + frame(kPing, 0, 0, "12345678"));
  CHECK(find(frames, kPing, 0));
  CHECK(server.streams[2].above == 1);
  Receiver& r = server.streams[0];
  r.stream->send_headers(*headers({{":status", "200"}}), false);
  r.stream->send_data(body(raw.pool, 1000), true);
  frames = raw.written();
  CHECK(find(frames, kHeaders, 1));
  CHECK_FALSE(find(frames, kData, 1));
  CHECK(server.stats.pending_send_bytes.slot_value() == 1000);
  server.codec->on_below_write_low_watermark();
  frames = raw.written();
  REQUIRE(find(frames, kData, 1));
  CHECK(find(frames, kData, 1)->payload.size() == 1000);
  for (Receiver& s : server.streams) CHECK(s.below == 1);
}

TEST_CASE("A stream above by itself and by the connection is told once") {
  RawClient raw;
  Server& server = raw.server();
  raw.send(post_frame(1) + window_frame(0, 10 << 20));
  Receiver& r = server.streams[0];
  r.stream->set_buffer_limit(1000);
  r.stream->send_headers(*headers({{":status", "200"}}), false);
  r.stream->send_data(body(raw.pool, 65535 + 2000), false);
  raw.send("");
  CHECK(r.above == 1);
  server.codec->on_above_write_high_watermark();
  CHECK(r.above == 1);
  server.codec->on_below_write_low_watermark();
  CHECK(r.below == 0);
  raw.send(window_frame(1, 10'000));
  CHECK(r.below == 1);
}

TEST_CASE("Memory stays bounded while the peer does not read") {
  BlockPool pool;
  Client client(pool);
  Server server(pool);
  server.wire.limit = 256 * 1024;
  constexpr size_t kBody = 20 << 20, kPiece = 16 * 1024;
  std::deque<size_t> left;
  auto send_more = [&](Receiver& r, size_t& left) {
    while (left > 0 && !r.stream->above_write_high_watermark()) {
      size_t n = std::min(left, kPiece);
      left -= n;
      r.stream->send_data(body(pool, n), left == 0);
      if (left == 0) return;
    }
  };
  server.setup = [&](Receiver& r) {
    size_t& mine = left.emplace_back(kBody);
    r.headers_hook = [&](Receiver& r) {
      r.stream->set_buffer_limit(64 * 1024);
      r.stream->send_headers(*headers({{":status", "200"}}), false);
      send_more(r, mine);
    };
    r.watermark_hook = [&](Receiver& r) { send_more(r, mine); };
  };
  for (int i = 0; i < 8; ++i) client.get().keep_body = false;
  receive(server, client.wire.take(1 << 20));
  size_t most = 0;
  auto queued = [&] { return server.wire.sent.size() + server.stats.pending_send_bytes.slot_value(); };
  most = queued();
  CHECK(most <= 256 * 1024 + 128 * 1024 + 8 * (64 + 16) * 1024);
  // The peer reads at last: everything arrives, and never more is queued.
  while (!server.wire.sent.empty() || !client.wire.sent.empty()) {
    receive(client, server.wire.take(10'000));
    if (server.wire.soon) receive(server, {});
    receive(server, client.wire.take(1 << 20));
    most = std::max(most, queued());
  }
  CHECK(most <= 256 * 1024 + 128 * 1024 + 8 * (64 + 16) * 1024);
  for (Receiver& r : client.streams) {
    CHECK(r.received == kBody);
    CHECK(r.end);
  }
}

TEST_CASE("Streams share the connection fairly") {
  BlockPool pool;
  Client client(pool);
  Server server(pool);
  server.wire.limit = 64 * 1024;
  server.setup = [&](Receiver& r) {
    r.headers_hook = [&](Receiver& r) {
      r.stream->send_headers(*headers({{":status", "200"}}), false);
      r.stream->send_data(body(pool, 4 << 20), true);
    };
  };
  for (int i = 0; i < 4; ++i) client.get().keep_body = false;
  receive(server, client.wire.take(1 << 20));
  while (client.streams[0].received < 1 << 20) {
    receive(client, server.wire.take(10'000));
    receive(server, client.wire.take(1 << 20));
  }
  for (Receiver& r : client.streams) CHECK(r.received > 700'000);
}

TEST_CASE("Large bodies are moved, small ones copied") {
  RawClient raw;
  raw.send(post_frame(1) + window_frame(0, 10 << 20) + window_frame(1, 10 << 20));
  Receiver& r = raw.server().streams[0];
  r.stream->send_headers(*headers({{":status", "200"}}), false);
  raw.written();
  Buffer large = body(raw.pool, 16 * 1024);
  const uint8_t* bytes_of_it = large.chunk(0).data();
  r.stream->send_data(std::move(large), false);
  Buffer out = raw.side.wire.take(1 << 20);
  REQUIRE(out.chunks() == 2);
  CHECK(out.chunk(1).data() == bytes_of_it);
  r.stream->send_data(body(raw.pool, 1024), false);
  CHECK(raw.side.wire.sent.chunks() == 1);
}

TEST_CASE("Small pieces of large blocks do not keep the blocks while the peer gives no window") {
  RawClient raw;
  raw.send(post_frame(1));
  Receiver& r = raw.server().streams[0];
  r.stream->send_headers(*headers({{":status", "200"}}), false);
  r.stream->send_data(body(raw.pool, 65535 + 100), false);
  raw.written();
  size_t before = raw.pool.outstanding();
  for (int i = 0; i < 10'000; ++i) r.stream->send_data(body(raw.pool, 1, BlockPool::kLarge), false);
  CHECK(raw.pool.outstanding() <= before + 4);
}

TEST_CASE("What arrives is not copied") {
  RawClient raw;
  raw.send(post_frame(1));
  Buffer in = bytes(raw.pool, frame(kData, 0, 1, "hello"));
  const uint8_t* where = in.chunk(0).data() + 9;
  receive(raw.server(), std::move(in));
  CHECK(raw.server().streams[0].body == "hello");
  CHECK(raw.server().streams[0].where == where);
}

TEST_CASE("Ten thousand streams at once on ten connections, in random pieces") {
  uint64_t seed = seed_of_run();
  CAPTURE(seed);
  Random random(seed);
  BlockPool pool;
  constexpr int kConnections = 10, kStreams = 1000;
  std::deque<Client> clients;
  std::deque<Server> servers;
  std::vector<Receiver*> waiting;
  for (int i = 0; i < kConnections; ++i) {
    clients.emplace_back(pool);
    Server& server = servers.emplace_back(pool);
    server.setup = [&](Receiver& r) { r.headers_hook = [&](Receiver& r) { waiting.push_back(&r); }; };
  }
  for (int i = 0; i < kStreams; ++i)
    for (Client& c : clients) c.get("/" + std::to_string(i));
  for (int i = 0; i < kConnections; ++i) pump(clients[i], servers[i], &random);
  REQUIRE(waiting.size() == kConnections * kStreams);
  for (Server& s : servers) CHECK(s.codec->active_streams() == kStreams);
  for (size_t i = waiting.size(); i-- > 1;) std::swap(waiting[i], waiting[random.below(i + 1)]);
  for (Receiver* r : waiting) {
    r->stream->send_headers(*headers({{":status", "200"}}), false);
    r->stream->send_data(bytes(pool, r->head->get(Name::path)), true);
  }
  for (int i = 0; i < kConnections; ++i) pump(clients[i], servers[i], &random);
  for (Client& c : clients) {
    CHECK(c.codec->active_streams() == 0);
    bool all = true;
    for (int i = 0; i < kStreams; ++i)
      all &= c.streams[i].end && c.streams[i].body == "/" + std::to_string(i);
    CHECK(all);
  }
}

TEST_CASE("Random exchanges: bodies, trailers, pauses, resets, GOAWAY") {
  uint64_t seed = seed_of_run();
  for (int round = 0; round < 200; ++round, ++seed) {
    CAPTURE(seed);
    Random random(seed);
    BlockPool pool;
    Http2Config config = small_windows();
    config.http2.initial_connection_window = 65535 + static_cast<uint32_t>(random.below(1 << 20));
    config.http2.max_consecutive_inbound_frames_with_empty_payload = 100;
    Client client(pool, config);
    Server server(pool, config);
    if (random.chance(1, 2)) server.wire.limit = 1 + random.below(200'000);
    if (random.chance(1, 2)) client.wire.limit = 1 + random.below(200'000);
    struct Sending {
      Receiver* r;
      size_t left;
      bool head, trailers;
    };
    std::vector<Sending> sending;
    std::vector<Receiver*> paused;
    auto prepare = [&](Receiver& r, bool head) {
      r.keep_body = false;
      sending.push_back(
          {&r, random.below(4) ? random.below(5000) : random.below(500'000), head, random.chance(1, 4)});
      auto forget = [&](Receiver& r) {
        std::erase_if(sending, [&](Sending& s) { return s.r == &r; });
        std::erase(paused, &r);
      };
      r.reset_hook = forget;
    };
    server.setup = [&](Receiver& r) { prepare(r, true); };
    auto step = [&](Sending& s) {  // true: done
      Stream& stream = *s.r->stream;
      if (s.head) {
        s.head = false;
        stream.send_headers(*headers({{":status", "200"}}), s.left == 0 && !s.trailers);
        if (s.left == 0 && !s.trailers) return true;
      } else if (s.left > 0) {
        size_t n = std::min<size_t>(s.left, 1 + random.below(60'000));
        s.left -= n;
        stream.send_data(body(pool, n, random.chance(1, 2) ? 4096 : 16384), s.left == 0 && !s.trailers);
        return s.left == 0 && !s.trailers;
      } else if (s.trailers) {
        stream.send_trailers(*headers({{"t", "v"}}));
        return true;
      } else {
        stream.send_data({}, true);
        return true;
      }
      return false;
    };
    bool away = false;
    for (int turn = 0; turn < 300; ++turn) {
      switch (random.below(8)) {
        case 0:
          if (client.codec->can_open_stream() && turn < 200) {
            Receiver& r = client.request(request_fields("POST"), false);
            prepare(r, false);
          }
          break;
        case 1:
        case 2:
        case 3:
          if (!sending.empty()) {
            size_t i = random.below(sending.size());
            Sending s = sending[i];
            // Done first: the stream may be gone after its last send.
            bool done = step(s);
            for (Sending& x : sending)
              if (x.r == s.r) x = s;
            if (done) std::erase_if(sending, [&](Sending& x) { return x.r == s.r; });
          }
          break;
        case 4:
          if (!sending.empty() && random.chance(1, 3)) {
            Receiver* r = sending[random.below(sending.size())].r;
            r->stream->reset(ResetReason::local_reset);
            r->reset_hook(*r);
          }
          break;
        case 5:
          if (!sending.empty()) {
            Receiver* r = sending[random.below(sending.size())].r;
            if (std::find(paused.begin(), paused.end(), r) == paused.end()) {
              r->stream->pause_reading();
              paused.push_back(r);
            }
          }
          break;
        case 6:
          if (random.chance(1, 50) && !away) {
            away = true;
            server.codec->shutdown_notice();
            server.codec->goaway();
          }
          break;
        default:
          break;
      }
      for (int i = 0; i < 2; ++i) {
        receive(server, client.wire.take(random.below(30'000)));
        receive(client, server.wire.take(random.below(30'000)));
      }
      // Those that are over for their user may not be resumed.
      std::erase_if(paused, [&](Receiver* r) {
        bool open = std::any_of(sending.begin(), sending.end(), [&](Sending& s) { return s.r == r; });
        if (open && random.chance(1, 10))
          r->stream->resume_reading();
        else if (open)
          return false;
        return true;
      });
      REQUIRE_FALSE(server.error);
      REQUIRE_FALSE(client.error);
    }
    client.codec->connection_lost(ResetReason::connection_termination, "");
    server.codec->connection_lost(ResetReason::connection_termination, "");
  }
}
