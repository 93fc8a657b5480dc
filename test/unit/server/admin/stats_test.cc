#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "server/admin/json_text.h"
#include "server/admin/stat_tags.h"
#include "server/admin/stats_handler.h"
#include "server/admin/stats_print.h"

using namespace sluice;
using admin::Request;

namespace {

// Answers /stats from a store that a test fills.
struct World {
  World() {
    io::LoopOptions o;
    o.backend = io::LoopOptions::Backend::epoll;
    auto made = io::make_loop(o);
    REQUIRE(made.ok());
    loop = std::move(made).value();
    handler = std::make_unique<admin::StatsHandler>(*loop, store);
  }
  admin::Response ask(std::vector<std::pair<std::string, std::string>> query) {
    Request r;
    r.query = std::move(query);
    return handler->stats(r);
  }
  stats::Store store{1};
  stats::Scope root = store.root(0);
  std::unique_ptr<io::Loop> loop;
  std::unique_ptr<admin::StatsHandler> handler;
};

}  // namespace

TEST_CASE("tags: the same series as Envoy makes of the same names") {
  std::ifstream in(SLUICE_SOURCE_DIR "/test/unit/server/admin/fixtures/tags.txt");
  REQUIRE(in.good());
  std::set<std::string> ours, envoys;
  bool names = true;
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) {
      names = false;
    } else if (names) {
      stats::Store store(1);
      store.root(0).counter(line);
      std::string text = admin::print_prometheus(store.snapshot(), false);
      std::string series = text.substr(text.find('\n') + 1);
      ours.insert(series.substr(0, series.rfind(' ')));
    } else {
      envoys.insert(line);
    }
  }
  REQUIRE(envoys.size() > 100);
  for (const auto& s : envoys) CHECK_MESSAGE(ours.contains(s), "Envoy has " << s);
  for (const auto& s : ours) CHECK_MESSAGE(envoys.contains(s), "we have " << s);
}

TEST_CASE("tags: corners") {
  CHECK(admin::extract_tags("").name == "");
  CHECK(admin::extract_tags("cluster.").name == "cluster.");
  CHECK(admin::extract_tags("cluster.a").tags.empty());
  CHECK(admin::extract_tags("listener.").tags.empty());
  CHECK(admin::extract_tags("listener.0.0.0.0_80.ssl.cipher.X-Y").tags.at(0).second == "X-Y");
  CHECK(admin::extract_tags("listener.0.0.0.0_80.ssl.cipher.X-Y").name == "listener.ssl.cipher");
  CHECK(admin::extract_tags("_rq_2xx").tags.empty());
  CHECK(admin::extract_tags("a_rq_2xx").name == "a_rq_xx");
  CHECK(admin::extract_tags("listener_manager.worker_x.a").tags.empty());
  // As Envoy 1.40 prints them.
  using Tags = std::vector<std::pair<std::string, std::string>>;
  const auto found = admin::extract_tags("proxy_proto.abc.versions.v2.found");
  CHECK(found.name == "proxy_proto.found");
  CHECK(found.tags == Tags{{"envoy.proxy_protocol_prefix", "abc"}, {"envoy.proxy_protocol_version", "2"}});
  CHECK(admin::extract_tags("proxy_proto.versions.v1.found").name == "proxy_proto.found");
  CHECK(admin::extract_tags("proxy_proto.versions.v1.found").tags ==
        Tags{{"envoy.proxy_protocol_version", "1"}});
  CHECK(admin::extract_tags("proxy_proto.abc.not_found_allowed").name == "proxy_proto.not_found_allowed");
  CHECK(admin::extract_tags("proxy_proto.not_found_allowed").tags.empty());
  CHECK(admin::extract_tags("downstream_cx_proxy_proto_error").tags.empty());
}

TEST_CASE("/stats as text") {
  World w;
  w.root.scope("b").counter("c").add(3);
  w.root.gauge("a").set(1);
  w.root.counter("unused");
  w.root.text("version", "v\"1");
  auto h = w.root.histogram("h", stats::Unit::milliseconds);
  w.root.histogram("empty", stats::Unit::milliseconds);
  for (int i = 0; i < 4; ++i) h.record(10);
  CHECK(w.ask({}).body ==
        "version: \"v\"1\"\na: 1\nb.c: 3\nunused: 0\nempty: No recorded values\n"
        "h: P0(nan,10) P25(nan,10) P50(nan,10) P75(nan,10) P90(nan,10) P95(nan,10) P99(nan,10) P99.5(nan,10) "
        "P99.9(nan,10) P100(nan,10)\n");
  w.handler->end_interval();
  h.record(20);
  CHECK(w.ask({{"filter", "^h$"}}).body.starts_with("h: P0(10,10) P25(10,10)"));
  w.handler->end_interval();
  CHECK(w.ask({{"filter", "^h$"}}).body.find("P0(20,10)") != std::string::npos);
  w.handler->end_interval();
  CHECK(w.ask({{"filter", "^h$"}}).body.find("P0(nan,10)") != std::string::npos);
  CHECK(w.ask({{"filter", "^h$"}, {"histogram_buckets", "cumulative"}}).body ==
        "h: B0.5(0,0) B1(0,0) B5(0,0) B10(0,4) B25(0,5) B50(0,5) B100(0,5) B250(0,5) B500(0,5) B1000(0,5) "
        "B2500(0,5) B5000(0,5) "
        "B10000(0,5) B30000(0,5) B60000(0,5) B300000(0,5) B600000(0,5) B1.8e+06(0,5) B3.6e+06(0,5)\n");
  CHECK(w.ask({{"filter", "^h$"}, {"histogram_buckets", "disjoint"}})
            .body.starts_with("h: B0.5(0,0) B1(0,0) B5(0,0) B10(0,4) B25(0,1) B50(0,0)"));
}

TEST_CASE("/stats: what is shown can be narrowed; nonsense is a 400") {
  World w;
  w.root.counter("a.x").add();
  w.root.counter("b.x");
  w.root.gauge("g").set(0);
  CHECK(w.ask({{"usedonly", ""}}).body == "a.x: 1\ng: 0\n");
  CHECK(w.ask({{"filter", "x$"}}).body == "a.x: 1\nb.x: 0\n");
  CHECK(w.ask({{"filter", "x$"}, {"invert_filter", ""}}).body == "g: 0\n");
  CHECK(w.ask({{"type", "Gauges"}}).body == "g: 0\n");
  CHECK(w.ask({{"type", "Counters"}, {"filter", "^b"}}).body == "b.x: 0\n");
  CHECK(w.ask({{"type", "xx"}}).status == 400);
  CHECK(w.ask({{"type", "xx"}}).body == "invalid &type= param");
  CHECK(w.ask({{"filter", "(("}}).status == 400);
  CHECK(w.ask({{"filter", "(("}}).body == "Invalid re2 regex: missing ): ((");
  CHECK(w.ask({{"format", "xx"}}).status == 400);
  CHECK(w.ask({{"histogram_buckets", "xx"}}).status == 400);
}

TEST_CASE("/stats as JSON") {
  World w;
  CHECK(w.ask({{"format", "json"}}).body == "{\"stats\":[]}");
  w.root.counter("a\"b").add(2);
  CHECK(w.ask({{"format", "json"}}).body == "{\"stats\":[{\"name\":\"a\\\"b\",\"value\":2}]}");
  CHECK(w.ask({{"format", "json"}}).content_type == "application/json");
  w.root.histogram("h", stats::Unit::none).record(3);
  std::string body = w.ask({{"format", "json"}, {"usedonly", ""}, {"filter", "h"}}).body;
  CHECK(
      body.starts_with("{\"stats\":[{\"histograms\":{\"supported_quantiles\":[0,25,50,75,90,95,99,99.5,99.9,"
                       "100],\"computed_quantiles\":["
                       "{\"name\":\"h\",\"values\":[{\"cumulative\":3,\"interval\":null},"));
  body = w.ask({{"format", "json"}, {"filter", "h"}, {"histogram_buckets", "cumulative"}}).body;
  CHECK(
      body.starts_with("{\"stats\":[{\"histograms\":[{\"name\":\"h\",\"buckets\":[{\"upper_bound\":0.5,"
                       "\"interval\":0,\"cumulative\":0},"));
  CHECK(admin::json_string("\x01\xff\xc3\xa9\xed\xa0\x80\"\\") ==
        "\"\\u0001\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\\"\\\\\"");
}

TEST_CASE("/stats as Prometheus") {
  World w;
  w.root.counter("cluster.we\"b\\.upstream_cx_total").add(2);
  w.root.counter("cluster.a.upstream_cx_total");
  w.root.gauge("server.live").set(1);
  w.root.text("server.name", "x\ny");
  w.root.histogram("cluster.a.upstream_cx_length_ms", stats::Unit::milliseconds).record(7);
  std::string body = w.ask({{"format", "prometheus"}}).body;
  CHECK(body.starts_with(
      "# TYPE envoy_cluster_upstream_cx_total counter\n"
      "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"a\"} 0\n"
      "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"we\\\"b\\\\\"} 2\n"
      "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n"
      "# TYPE envoy_cluster_upstream_cx_length_ms histogram\n"
      "envoy_cluster_upstream_cx_length_ms_bucket{envoy_cluster_name=\"a\",le=\"0.5\"} 0\n"));
  CHECK(body.find("le=\"5\"} 0\n") != body.npos);
  CHECK(body.find("le=\"10\"} 1\n") != body.npos);
  CHECK(
      body.ends_with("le=\"3600000\"} "
                     "1\nenvoy_cluster_upstream_cx_length_ms_bucket{envoy_cluster_name=\"a\",le=\"+Inf\"} 1\n"
                     "envoy_cluster_upstream_cx_length_ms_sum{envoy_cluster_name=\"a\"} 7\n"
                     "envoy_cluster_upstream_cx_length_ms_count{envoy_cluster_name=\"a\"} 1\n"));
  CHECK(w.ask({{"format", "prometheus"}, {"text_readouts", ""}, {"filter", "name"}}).body ==
        "# TYPE envoy_server_name gauge\nenvoy_server_name{text_value=\"x\\ny\"} 1\n");
}
