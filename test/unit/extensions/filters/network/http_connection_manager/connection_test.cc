#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "test/unit/extensions/filters/network/http_connection_manager/bed.h"

using namespace sluice;
using namespace sluice::extensions::http_connection_manager;
using namespace std::chrono_literals;

namespace {

std::string get(std::string_view path, std::string_view more = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nhost: a\r\n" + std::string(more) + "\r\n";
}

size_t count(const std::string& text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

bool has(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

// Under some seeds: deliveries in parts, late, in another order.
void each(const std::function<void(sim::Sim&)>& f) {
  Status s = sim::for_each_seed(25, f);
  REQUIRE_MESSAGE(s.ok(), s.error().message);
}

using SettingsPtr = std::shared_ptr<Settings>;

}  // namespace

TEST_CASE("An answer, its fields, its record") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write(get("/hello"));
    REQUIRE(bed.until([&] { return has(c.received, "hello"); }));
    CHECK(c.received.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(has(c.received, "content-length: 5\r\n"));
    CHECK(has(c.received, "server: envoy\r\n"));
    CHECK(has(c.received, "date: "));
    CHECK_FALSE(has(c.received, "connection:"));
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
    const Record& r = bed.recorder->records[0];
    CHECK(r.code == 200);
    CHECK(r.details == "direct_response");
    CHECK(r.flags == "-");
    CHECK(r.path == "/hello");
    CHECK(r.sent == 5);
    CHECK(bed.stat("http.t.downstream_rq_2xx") == 1);
    CHECK(bed.stat("listener.10.0.0.1_8080.http.t.downstream_rq_2xx") == 1);
    CHECK(bed.stat("http.t.downstream_cx_http1_total") == 1);
  });
}

TEST_CASE("Pipelined requests are answered in order") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write(get("/later") + get("/hello") + get("/nowhere") + get("/later"));
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 4; }));
    REQUIRE(bed.until([&] { return count(c.received, "HTTP/1.1 ") == 4 && c.received.ends_with("later"); }));
    size_t first = c.received.find("later"), second = c.received.find("hello"),
           third = c.received.find("404");
    CHECK(first < second);
    CHECK(second < third);
    CHECK(c.received.ends_with("later"));
  });
}

TEST_CASE("A body goes through, with back-pressure, in both directions") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    std::string body(200000, 'b');
    c.write("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" +
            body);
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
    CHECK(bed.recorder->records[0].received == body.size());
    CHECK(bed.recorder->records[0].sent == body.size());
  });
}

TEST_CASE("A slow reader holds the answer back, not in memory") {
  each([](sim::Sim& sim) {
    Origin::most_unsent = 0;
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.pause_reading();
    c.write(get("/big"));
    bed.until([] { return false; }, 2s);
    CHECK(Origin::most_unsent < 64 * 1024 + 20000);
    CHECK(bed.recorder->records.empty());
    c.resume_reading();
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
    CHECK(bed.recorder->records[0].sent == 1000000);
  });
}

TEST_CASE("What cannot be a request") {
  struct Row {
    const char *request, *status, *details;
  };
  for (Row r : {Row{"nonsense\r\n\r\n", "400", "http1.codec_error"},
                {"GET /hello HTTP/1.1\r\n\r\n", "400", "missing_host_header"},
                {"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "404", "absolute_path_rejected"},
                {"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", "400", "path_normalization_failed"},
                {"GET / HTTP/1.0\r\nhost: a\r\n\r\n", "426", "low_version"},
                {"GET / HTTP/1.1\r\nhost: a\r\nupgrade: foo\r\nconnection: upgrade\r\n\r\n", "403",
                 "upgrade_failed"}}) {
    CAPTURE(r.request);
    each([&](sim::Sim& sim) {
      Bed bed(sim);
      sim::Peer& c = bed.client();
      c.write(r.request);
      REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
      CHECK(std::to_string(bed.recorder->records[0].code) == r.status);
      CHECK(bed.recorder->records[0].details == r.details);
      REQUIRE(bed.until([&] { return has(c.received, r.status); }));
    });
  }
}

TEST_CASE("connection: close, a whole answer, then FIN") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write(get("/hello", "connection: close\r\n"));
    REQUIRE(bed.until([&] { return c.ended; }));
    CHECK(has(c.received, "connection: close\r\n"));
    CHECK(c.received.ends_with("hello"));
    CHECK_FALSE(c.was_reset);
  });
}

TEST_CASE("An answer before the request's end closes behind it, and is not lost to a reset") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write("POST /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + std::string(5000, 'x'));
    REQUIRE(bed.until([&] { return c.ended || c.was_reset; }));
    CHECK_FALSE(c.was_reset);
    CHECK(c.received.ends_with("hello"));
    CHECK(has(c.received, "connection: close\r\n"));
    CHECK(bed.stat("http.t.downstream_rq_response_before_rq_complete") == 1);
  });
}

TEST_CASE("The client leaves") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write(get("/wait"));
    REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_active") == 1; }));
    c.close();
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
    const Record& r = bed.recorder->records[0];
    CHECK(r.code == 0);
    CHECK(r.details == "downstream_remote_disconnect");
    CHECK(r.flags == "DC");
    REQUIRE(bed.until([&] { return bed.worker->connection_count() == 0; }));
    CHECK(bed.stat("http.t.downstream_cx_destroy_remote_active_rq") == 1);
    CHECK(bed.stat("http.t.downstream_rq_rx_reset") == 1);
  });
}

TEST_CASE("A filter resets half an answer: the client must not take it for a whole one") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write(get("/cut"));
    REQUIRE(bed.until([&] { return c.ended || c.was_reset; }));
    CHECK_FALSE(has(c.received, "\r\n0\r\n"));
    CHECK(bed.recorder->records[0].details == "cut");
  });
}

TEST_CASE("An upgrade") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write(get("/ws", "upgrade: websocket\r\nconnection: upgrade\r\n"));
    REQUIRE(bed.until([&] { return has(c.received, "\r\n\r\n"); }));
    CHECK(c.received.starts_with("HTTP/1.1 101 "));
    c.write("any bytes");
    REQUIRE(bed.until([&] { return c.received.ends_with("any bytes"); }));
    CHECK(bed.stat("http.t.downstream_cx_upgrades_active") == 1);
    c.close();
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
    CHECK(bed.stat("http.t.downstream_cx_upgrades_total") == 1);
  });
}

TEST_CASE("Expect: 100-continue is answered here") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    c.write("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    REQUIRE(bed.until([&] { return has(c.received, "100 Continue"); }));
    c.write("hi");
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
    CHECK(bed.recorder->records[0].sent == 2);
  });
}

// ---- time ----

TEST_CASE("Time-outs of a stream") {
  struct Row {
    const char* request;
    std::function<void(Settings&)> set;
    uint16_t status;
    const char *details, *stat;
  };
  for (const Row& r :
       {Row{"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n", [](Settings& s) { s.stream_idle_timeout = 5s; }, 504,
            "stream_idle_timeout", "http.t.downstream_rq_idle_timeout"},
        Row{"POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n",
            [](Settings& s) { s.stream_idle_timeout = 5s; }, 408, "stream_idle_timeout",
            "http.t.downstream_rq_idle_timeout"},
        Row{"POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n",
            [](Settings& s) { s.request_timeout = 5s; }, 408, "request_overall_timeout",
            "http.t.downstream_rq_timeout"},
        Row{"GET /wait HTTP/1.1\r\nho", [](Settings& s) { s.request_headers_timeout = 5s; }, 408,
            "request_header_timeout", "http.t.downstream_rq_header_timeout"},
        Row{"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n", [](Settings& s) { s.max_stream_duration = 5s; }, 504,
            "max_duration_timeout", "http.t.downstream_rq_max_duration_reached"}}) {
    CAPTURE(r.details);
    each([&](sim::Sim& sim) {
      auto settings = std::make_shared<Settings>();
      r.set(*settings);
      Bed bed(sim, settings);
      sim::Peer& c = bed.client();
      c.write(r.request);
      REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }, 20s));
      CHECK(bed.recorder->records[0].code == r.status);
      CHECK(bed.recorder->records[0].details == r.details);
      CHECK(bed.stat(r.stat) == 1);
      REQUIRE(bed.until([&] { return has(c.received, std::to_string(r.status)); }));
    });
  }
}

TEST_CASE("Idle connections end, also behind a request") {
  each([](sim::Sim& sim) {
    auto settings = std::make_shared<Settings>();
    settings->idle_timeout = 3s;
    Bed bed(sim, settings);
    sim::Peer& silent = bed.client();
    sim::Peer& c = bed.client();
    c.write(get("/hello"));
    REQUIRE(bed.until([&] { return silent.ended && c.ended; }, 10s));
    CHECK(c.received.ends_with("hello"));
    CHECK(bed.stat("http.t.downstream_cx_idle_timeout") == 2);
  });
}

TEST_CASE("Draining: what is under way ends, then the connection; idle ones after drain_timeout") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& idle = bed.client();
    sim::Peer& busy = bed.client();
    idle.write(get("/hello"));
    REQUIRE(bed.until([&] { return idle.received.ends_with("hello"); }));
    busy.write(get("/later"));
    REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_active") == 1; }));
    bed.worker->set_draining();
    REQUIRE(bed.until([&] { return busy.ended && idle.ended; }, 30s));
    CHECK(busy.received.ends_with("later"));
    CHECK(has(busy.received, "connection: close\r\n"));
    CHECK_FALSE(busy.was_reset);
    CHECK(bed.stat("http.t.downstream_cx_drain_close") == 2);
  });
}

TEST_CASE("max_requests_per_connection, max_connection_duration") {
  each([](sim::Sim& sim) {
    auto settings = std::make_shared<Settings>();
    settings->max_requests_per_connection = 2;
    settings->max_connection_duration = 1h;
    Bed bed(sim, settings);
    sim::Peer& c = bed.client();
    c.write(get("/hello") + get("/hello") + get("/hello"));
    REQUIRE(bed.until([&] { return c.ended; }));
    CHECK(count(c.received, "HTTP/1.1 200") == 2);
    CHECK(count(c.received, "connection: close") == 1);
    CHECK(bed.stat("http.t.downstream_cx_max_requests_reached") == 1);
  });
}

// ---- HTTP/2 ----

TEST_CASE("AUTO knows HTTP/2 by its preface") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = bed.client();
    // Preface, empty SETTINGS, HEADERS of stream 1: GET, http, /hello, :authority a; all as literals without indexing.
    std::string block;
    auto literal = [&](std::string_view name, std::string_view value) {
      block += '\0';
      block += static_cast<char>(name.size());
      block += name;
      block += static_cast<char>(value.size());
      block += value;
    };
    literal(":method", "GET");
    literal(":scheme", "http");
    literal(":path", "/hello");
    literal(":authority", "a");
    std::string bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    bytes += std::string("\0\0\0\4\0\0\0\0\0", 9);
    bytes += std::string("\0\0", 2);
    bytes += static_cast<char>(block.size());
    bytes += std::string("\1\5\0\0\0\1", 6);
    bytes += block;
    c.write(bytes);
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
    CHECK(bed.recorder->records[0].code == 200);
    REQUIRE(bed.until([&] { return has(c.received, "hello"); }));
    CHECK(bed.stat("http.t.downstream_cx_http2_total") == 1);
    CHECK(bed.stat("http.t.downstream_rq_http2_total") == 1);
    bed.worker->set_draining();
    REQUIRE(bed.until([&] { return c.ended; }, 30s));
  });
}
