#include "http1_support.h"

// Who may do what when: pipelining, early ends, resets, back-pressure. The codec's own assertions watch too.
namespace sluice::http {
namespace {

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
const Fields kOk = {{":status", "200"}};
const Fields kRequest = {{":method", "POST"}, {":path", "/"}, {":authority", "a"}};

TEST_CASE("pipelined requests are taken one by one, and what waits stops the reading") {
  ServerBench s;
  s.setup = [](Recorder&, Stream&) {};
  s.start();
  s.feed(kGet + kPost + "bodyGET /3 HTT");
  REQUIRE(s.streams.size() == 1);
  CHECK(s.output.paused == 1);
  s.feed("P/1.1\r\n");  // already on its way when reading was paused
  CHECK(s.output.paused == 1);
  s.stream().send_headers(*make(kOk), true);
  CHECK(s.output.paused == 0);
  CHECK(s.output.soon);
  s.feed("");
  REQUIRE(s.streams.size() == 2);
  CHECK(s.last().body == "body");
  CHECK(s.output.paused == 1);
  s.stream().send_headers(*make(kOk), true);
  s.feed("");
  s.feed("Host: a\r\n\r\n");
  REQUIRE(s.streams.size() == 3);
  CHECK(s.last().headers->get(Name::path) == "/3");
  CHECK(s.output.paused == 0);  // nothing waits
  s.stream().send_headers(*make(kOk), true);
  CHECK(s.connection->active_streams() == 0);
}

TEST_CASE("pipelined requests that are answered at once go through in one receive") {
  ServerBench s;
  s.start();
  std::string all;
  for (int i = 0; i < 50; ++i) all += i % 2 ? kGet : kPost + "1234";
  s.feed(all);
  CHECK(s.streams.size() == 50);
  CHECK(s.output.paused == 0);
  size_t answers = 0;
  for (size_t at = 0; (at = s.output.sent.find("HTTP/1.1 200 OK", at)) != std::string::npos; ++at) ++answers;
  CHECK(answers == 50);
}

TEST_CASE("an answer before the request is whole says close, and the connection ends with it") {
  ServerBench s;
  s.setup = [](Recorder& r, Stream& stream) {
    r.headers_hook = [&stream] { stream.send_headers(*make(kOk), false); };
  };
  s.start();
  s.feed(kPost + "ab");
  CHECK(s.output.sent.find("connection: close\r\n") != std::string::npos);
  CHECK_FALSE(s.connection->finished());
  CHECK(s.last().body == "ab");
  SUBCASE("the response ends first") {
    s.stream().send_data(Buffer(), true);
    CHECK(s.connection->finished());
    CHECK(s.connection->active_streams() == 1);
    s.stream().reset(ResetReason::no_error);
    CHECK(s.connection->active_streams() == 0);
    CHECK_FALSE(s.last().was_reset);
  }
  SUBCASE("the request ends first") {
    s.feed("cd" + kGet);
    CHECK(s.last().ended);
    s.stream().send_data(Buffer(), true);
    CHECK(s.connection->finished());
    CHECK(s.connection->active_streams() == 0);
    CHECK(s.streams.size() == 1);
  }
  SUBCASE("both in one callback") {
    s.last().data_hook = [&] {
      if (!s.last().ended && s.last().body.size() == 4) s.stream().send_data(Buffer(), true);
      s.last().data_hook = nullptr;
    };
    s.feed("cd");
    CHECK(s.connection->finished());
    CHECK(s.connection->active_streams() == 0);
  }
}

TEST_CASE("a stream begins with its first byte, and may be answered before the head is whole") {
  ServerBench s;
  s.setup = [](Recorder&, Stream&) {};
  s.start();
  s.feed("\n");
  CHECK(s.streams.size() == 1);
  s.feed("GET / HTTP/1.1\r\nHost:");
  REQUIRE(s.streams.size() == 1);
  CHECK(s.connection->active_streams() == 1);
  s.stream().send_headers(*make({{":status", "408"}}), true);
  CHECK(s.output.sent == "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  CHECK(s.connection->finished());
  s.feed(" a\r\n\r\n" + kGet);
  CHECK(s.last().log.empty());
}

TEST_CASE("the client leaves") {
  ServerBench s;
  s.setup = [](Recorder&, Stream&) {};
  s.start();
  std::string reset = "reset connection termination downstream_remote_disconnect\n";
  SUBCASE("before a request line") {
    s.feed("GET / HT");
    CHECK_FALSE(s.connection->receive_end());
    CHECK(s.last().log == reset);
  }
  SUBCASE("in the middle of a head") {
    s.feed("GET / HTTP/1.1\r\nHost:");
    CHECK_FALSE(s.connection->receive_end());
    CHECK(s.last().log == reset);
  }
  SUBCASE("in the middle of a body") {
    s.feed(kPost + "a");
    CHECK_FALSE(s.connection->receive_end());
    CHECK(s.last().log.ends_with(reset));
  }
  SUBCASE("waiting for its answer") {
    s.feed(kGet);
    CHECK_FALSE(s.connection->receive_end());
    CHECK(s.last().log.ends_with("end\n" + reset));
  }
  SUBCASE("idle") {
    CHECK_FALSE(s.connection->receive_end());
  }
  CHECK(s.connection->finished());
  CHECK(s.connection->active_streams() == 0);
}

TEST_CASE("a bad body behind a started answer ends the connection with an error") {
  ServerBench s;
  s.setup = [](Recorder& r, Stream& stream) {
    r.headers_hook = [&stream] { stream.send_headers(*make(kOk), false); };
  };
  s.start();
  s.feed("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
  CHECK(s.last().log.ends_with("reset protocol error http1.codec_error\n"));
  CHECK(s.error == "http1.codec_error: HPE_INVALID_CHUNK_SIZE");
  CHECK(s.connection->finished());
}

TEST_CASE("a bad message may be answered later; until then nothing is taken") {
  ServerBench s;
  Stream* bad = nullptr;
  s.setup = [&](Recorder& r, Stream&) { r.bad_hook = [&](Stream& stream, uint16_t) { bad = &stream; }; };
  s.start();
  s.feed("BAD / HTTP/1.1\r\n" + kGet);
  REQUIRE(bad);
  s.feed(kGet);
  CHECK(s.streams.size() == 1);
  CHECK_FALSE(s.connection->finished());
  bad->send_headers(*make({{":status", "400"}, {"content-length", "3"}}), false);
  bad->send_data(buffer_of(s.pool, "bad"), true);
  CHECK(s.output.sent == "HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbad");
  CHECK(s.connection->finished());
}

TEST_CASE("reset from inside any callback") {
  for (int where = 0; where < 3; ++where) {
    ServerBench s;
    s.setup = [&](Recorder& r, Stream& stream) {
      auto reset = [&stream] { stream.reset(ResetReason::local_reset); };
      if (where == 0) r.headers_hook = reset;
      if (where == 1)
        r.data_hook = [&r, reset] {
          reset();
          r.data_hook = nullptr;
        };
      if (where == 2) r.end_hook = reset;
    };
    s.start();
    s.feed(kPost + (where == 1 ? "bo" : "body") + kGet.substr(0, where == 1 ? 0 : std::string::npos));
    CHECK(s.streams.size() == 1);
    CHECK(s.connection->finished());
    CHECK(s.connection->active_streams() == 0);
    s.feed(kGet);
    CHECK(s.streams.size() == 1);
  }
}

TEST_CASE("goaway: the exchange under way is the last; an idle connection is done") {
  ServerBench s;
  s.setup = [](Recorder&, Stream&) {};
  s.start();
  SUBCASE("idle") {
    s.connection->shutdown_notice();
    CHECK_FALSE(s.connection->finished());
    s.connection->goaway();
    CHECK(s.connection->finished());
    s.feed(kGet);
    CHECK(s.streams.empty());
  }
  SUBCASE("under way") {
    s.feed(kGet + kGet);
    s.connection->goaway();
    CHECK_FALSE(s.connection->finished());
    s.stream().send_headers(*make(kOk), true);
    CHECK(s.output.sent == "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    CHECK(s.connection->finished());
    CHECK(s.streams.size() == 1);
  }
}

TEST_CASE("pauses are counted, handed on, and end with the stream") {
  ServerBench s;
  s.setup = [](Recorder&, Stream&) {};
  s.start();
  s.feed(kPost);
  s.stream().pause_reading();
  s.stream().pause_reading();
  CHECK(s.output.paused == 2);
  s.stream().resume_reading();
  CHECK(s.output.paused == 1);
  s.feed("body");  // was on its way
  CHECK(s.last().ended);
  s.stream().send_headers(*make(kOk), true);
  CHECK(s.output.paused == 0);
}

TEST_CASE("the connection's watermarks are the stream's; never from inside its own calls") {
  ServerBench s;
  s.setup = [](Recorder&, Stream&) {};
  s.start();
  s.feed(kPost.substr(0, 5));
  s.connection->on_above_write_high_watermark();
  CHECK(s.last().log.empty());
  s.feed(kPost.substr(5));
  CHECK(s.last().log.ends_with("}\nabove\n"));
  CHECK(s.stream().above_write_high_watermark());
  s.connection->on_below_write_low_watermark();
  CHECK(s.last().log.ends_with("above\nbelow\n"));
  struct Loud final : Output {  // a socket that reports from inside of write()
    FakeOutput& to;
    ServerBench& bench;
    Loud(FakeOutput& o, ServerBench& b) : to(o), bench(b) {}
    void write(Buffer&& data) override {
      to.write(std::move(data));
      bench.connection->on_above_write_high_watermark();
    }
    BlockPool& blocks() override { return to.blocks(); }
    void pause_reading() override { to.pause_reading(); }
    void resume_reading() override { to.resume_reading(); }
    void receive_soon() override { to.receive_soon(); }
  };
  s.connection->connection_lost(ResetReason::connection_termination, "");
  Loud loud(s.output, s);
  s.connection = make_http1_server(s.config, s.stats, loud, s);
  s.feed(kPost);
  std::string before = s.last().log;
  s.stream().send_headers(*make(kOk), false);
  CHECK(s.last().log == before);
  CHECK(s.stream().above_write_high_watermark());
  CHECK(s.output.soon);
  s.feed("");
  CHECK(s.last().log == before + "above\n");
  s.connection->connection_lost(ResetReason::connection_termination, "");
  s.connection.reset();
}

TEST_CASE("many exchanges on one connection leave no block behind") {
  ServerBench s;
  s.start();
  for (int i = 0; i < 1000; ++i) {
    s.feed(i % 3 ? kGet : kPost + "body");
    REQUIRE(s.pool.outstanding() == 0);
    s.streams.clear();
    s.handles.clear();
  }
}

TEST_CASE("client: one exchange at a time, the next when both ends are through") {
  ClientBench c;
  c.start();
  CHECK(c.connection->can_open_stream());
  CHECK(c.connection->max_streams() == 1);
  c.request(kRequest, false);
  CHECK_FALSE(c.connection->can_open_stream());
  c.stream->send_data(buffer_of(c.pool, "ab"), true);
  c.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  CHECK(c.recorder.ended);
  CHECK(c.connection->can_open_stream());
  CHECK(c.connection->active_streams() == 0);
}

TEST_CASE("client: a response that does not wait for the request ends the connection") {
  ClientBench c;
  c.start();
  c.request(kRequest, false);
  c.feed("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n");
  CHECK(c.recorder.ended);
  CHECK(c.connection->active_streams() == 1);
  CHECK(c.connection->finished());
  SUBCASE("reset") {
    c.stream->reset(ResetReason::local_reset);
  }
  SUBCASE("sent to its end all the same") {
    c.stream->send_data(buffer_of(c.pool, "ab"), true);
  }
  CHECK(c.connection->active_streams() == 0);
  CHECK_FALSE(c.connection->can_open_stream());
}

TEST_CASE("client: bytes that nobody asked for") {
  ClientBench c;
  c.start();
  SUBCASE("a response") {
    c.feed("HTTP/1.1 200 OK\r\n");
    CHECK(c.error == "http1.codec_error: a response without a request");
  }
  SUBCASE("a server that closes says 408 before") {
    for (char byte : std::string("HTTP/1.1 408 Request Timeout\r\n\r\n")) {
      c.feed({&byte, 1});
      CHECK_FALSE(c.connection->can_open_stream());
    }
    CHECK(c.error.empty());
  }
  SUBCASE("behind a response") {
    c.get();
    c.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200");
    CHECK(c.recorder.ended);
    CHECK(c.error == "http1.codec_error: a response without a request");
  }
  CHECK(c.connection->finished());
  CHECK_FALSE(c.connection->can_open_stream());
}

TEST_CASE("client: data waits for the upgrade, and for nothing else") {
  const Fields upgrade = {{":method", "GET"},
                          {":path", "/"},
                          {":authority", "a"},
                          {"connection", "Upgrade"},
                          {"upgrade", "websocket"}};
  ClientBench c;
  c.start();
  c.request(upgrade, false);
  CHECK(c.output.sent == "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n");
  c.output.sent.clear();
  c.stream->set_buffer_limit(3);
  c.stream->send_data(buffer_of(c.pool, "early"), false);
  CHECK(c.output.sent.empty());
  CHECK(c.stream->above_write_high_watermark());
  c.feed("");
  CHECK(c.recorder.log == "above\n");
  SUBCASE("accepted") {
    c.feed("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw");
    CHECK(c.recorder.log.starts_with("above\nheaders{:status=101|connection=upgrade|upgrade=websocket}\n"));
    CHECK(c.recorder.log.find("below\n") != std::string::npos);
    CHECK(c.recorder.body == "raw");
    CHECK(c.output.sent == "early");
    c.stream->send_data(buffer_of(c.pool, "late"), false);
    CHECK(c.output.sent == "earlylate");
    c.end();
    CHECK(c.recorder.ended);
    CHECK(c.connection->active_streams() == 1);
    c.stream->send_data(Buffer(), true);
    CHECK(c.connection->active_streams() == 0);
  }
  SUBCASE("refused") {
    c.feed("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    CHECK(c.recorder.ended);
    CHECK(c.output.sent.empty());
    c.stream->send_data(buffer_of(c.pool, "late"), true);
    CHECK(c.output.sent.empty());
    CHECK(c.connection->active_streams() == 0);
  }
  CHECK(c.connection->finished());
}

TEST_CASE("client: CONNECT") {
  ClientBench c;
  c.start();
  c.request({{":method", "CONNECT"}, {":authority", "b.c:443"}}, false);
  CHECK(c.output.sent == "CONNECT b.c:443 HTTP/1.1\r\nhost: b.c:443\r\n\r\n");
  c.stream->send_data(buffer_of(c.pool, "hello"), false);
  CHECK_FALSE(c.output.sent.ends_with("hello"));
  c.feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcdefgh");
  CHECK(c.recorder.log == "headers{:status=200}\ndata(abcdefgh");
  CHECK(c.output.sent.ends_with("hello"));
}

}  // namespace
}  // namespace sluice::http
