#include "extensions/filters/http/grpc_stats/grpc_stats.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/fake_context.h"

using namespace sluice;
using namespace sluice::extensions::grpc_stats;
using namespace std::literals;
using test::Headers;

namespace {

constexpr std::string_view kMessage = "\0\0\0\0\2ab"sv;

template <typename F>
Settings with(F set) {
  Settings s;
  set(s);
  return s;
}

Headers call(const std::string& path) {
  return {{":method", "POST"}, {":path", path}, {"content-type", "application/grpc"}};
}

// One call with one message each way and this status in the trailers.
void run(test::FakeWorker& w, const std::string& path, std::string_view status) {
  test::FakeStream s(w);
  s.request(call(path), false);
  s.request_data(kMessage, true);
  s.response({{":status", "200"}, {"content-type", "application/grpc"}}, false);
  s.response_data(kMessage, false);
  http::HeaderMap trailers;
  if (!status.empty()) trailers.add(http::Name::grpc_status, status);
  CHECK(s.filter->on_response_trailers(trailers) == ext::TrailersStatus::proceed);
}

}  // namespace

TEST_CASE("grpc_stats: messages in any pieces") {
  std::string body;
  for (int i = 0; i < 5; ++i) body += kMessage;
  body += "\0\0\0\0\0"sv;  // an empty one
  for (size_t step = 1; step <= body.size(); ++step) {
    BlockPool pool;
    MessageCounter counter;
    uint64_t n = 0;
    for (size_t i = 0; i < body.size(); i += step) {
      Buffer b;
      b.append(pool, std::string_view(body).substr(i, step));
      n += counter.count(b);
    }
    CHECK(n == 6);
  }
}

TEST_CASE("grpc_stats: all methods") {
  test::FakeWorker w(make_factory(with([](Settings& s) { s.all_methods = true; })));
  w.clusters.add("up");
  run(w, "/pkg.Svc/M", "0");
  run(w, "/pkg.Svc/M", "7");
  run(w, "/pkg.Svc/M", "");
  const std::string p = "cluster.up.grpc.pkg.Svc.M.";
  CHECK(w.stat(p + "request_message_count") == 3);
  CHECK(w.stat(p + "response_message_count") == 3);
  CHECK(w.stat(p + "total") == 2);
  CHECK(w.stat(p + "success") == 1);
  CHECK(w.stat(p + "failure") == 1);
  CHECK(w.stat(p + "0") == 1);
  CHECK(w.stat(p + "7") == 1);
  CHECK(w.stat(p + "upstream_rq_time") == ~0ull);
}

TEST_CASE("grpc_stats: one count for all that are not listed") {
  Settings settings;
  settings.methods = {{"pkg.Svc", "M"}};
  settings.replace_dots = true;
  test::FakeWorker w(make_factory(settings));
  w.clusters.add("up");
  run(w, "/pkg.Svc/M", "0");
  run(w, "/pkg.Svc/Other", "0");
  run(w, "/no/call/path", "0");
  CHECK(w.stat("cluster.up.grpc.pkg_Svc.M.total") == 1);
  CHECK(w.stat("cluster.up.grpc.total") == 1);
  CHECK(w.stat("cluster.up.grpc.request_message_count") == 1);
}

TEST_CASE("grpc_stats: what is no gRPC, and a cluster that is not there") {
  test::FakeWorker w(make_factory(with([](Settings& s) { s.all_methods = true; })));
  run(w, "/a.B/C", "0");
  w.clusters.add("up");
  test::FakeStream s(w);
  s.request({{":path", "/a.B/C"}, {"content-type", "application/json"}}, false);
  s.request_data(kMessage, true);
  for (auto& m : w.store.snapshot()) CHECK(m.name.find(".grpc.") == std::string::npos);
}

TEST_CASE("grpc_stats: a head that ends the stream carries the status, and the time") {
  test::FakeWorker w(make_factory(with([](Settings& s) {
    s.all_methods = true;
    s.upstream_time = true;
  })));
  w.clusters.add("up");
  test::FakeStream s(w);
  s.request(call("/a.B/C"));
  s.http_info.last_upstream_tx_byte = w.loop.now();
  w.loop.advance(std::chrono::milliseconds(7));
  s.response({{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "14"}});
  CHECK(w.stat("cluster.up.grpc.a.B.C.failure") == 1);
  bool found = false;
  for (auto& m : w.store.snapshot(stats::Kind::histogram))
    if (m.name == "cluster.up.grpc.a.B.C.upstream_rq_time") {
      found = true;
      CHECK(m.histogram->count == 1);
      CHECK(m.histogram->sum == 7);
    }
  CHECK(found);
}

TEST_CASE("grpc_stats: counts that access logs can show") {
  test::FakeWorker w(make_factory(with([](Settings& s) { s.emit_filter_state = true; })));
  test::FakeStream s(w);
  s.request(call("/a.B/C"), false);
  CHECK_FALSE(s.http_info.grpc_messages);
  s.request_data(std::string(kMessage) + std::string(kMessage), true);
  s.response({{":status", "200"}, {"content-type", "application/grpc"}}, false);
  s.response_data(kMessage, true);
  REQUIRE(s.http_info.grpc_messages);
  CHECK(s.http_info.grpc_messages->request == 2);
  CHECK(s.http_info.grpc_messages->response == 1);
}
