#include "server/admin/handlers.h"

#include <doctest/doctest.h>
#include <google/protobuf/util/json_util.h>

#include <optional>
#include <set>

#include "core/json.h"
#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/admin/v3/server_info.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "server/admin/config_dump.h"
#include "test/unit/server/admin/world.h"

using namespace sluice;
using envoy::config::bootstrap::v3::Bootstrap;

namespace {

// A server with one listener and one cluster: the very ones which real Envoy 1.40 was asked about.
struct FakeView final : admin::View {
  admin::State state() override { return state_; }
  Duration uptime() override { return std::chrono::milliseconds(6500); }
  WallTime config_loaded_at() override { return WallTime{Duration{1795319893'071000000}}; }
  std::string version() override { return "0.1.0"; }
  const server::Options& options() override { return options_; }
  unsigned concurrency() override { return 2; }
  std::shared_ptr<const Bootstrap> bootstrap() override { return bootstrap_; }
  envoy::config::core::v3::Node node() override { return bootstrap_->node(); }
  std::vector<admin::ListenerStatus> listeners() override {
    return {{"l1", {Address::parse("127.0.0.1:19802").value()}},
            {"l2", {Address::parse("[::1]:19803").value()}}};
  }
  admin::Discovered discovered() override { return discovered_; }
  std::vector<admin::Waiting> waiting() override { return {}; }
  std::vector<admin::CertificateStatus> certificates() override { return certificates_; }
  WallTime now() override { return WallTime(std::chrono::seconds(1'800'000'000)); }
  void clusters(std::function<void(std::vector<admin::ClusterStatus>)> done) override {
    admin::ClusterStatus c;
    c.name = c.observability_name = c.assignment_name = "dead";
    admin::HostStatus h;
    h.address = Address::parse("127.0.0.1:1").value();
    h.cx_connect_fail = h.cx_total = 1;
    c.hosts.push_back(h);
    done({c});
  }
  void quit() override { ++quits; }
  void drain_listeners(const admin::DrainRequest& r) override { drain = r; }
  void reopen_logs() override { ++reopens; }
  void fail_health_checks(bool fail) override { fails_health_checks = fail; }

  admin::State state_ = admin::State::live;
  server::Options options_;
  admin::Discovered discovered_;
  std::vector<admin::CertificateStatus> certificates_;
  std::shared_ptr<Bootstrap> bootstrap_ = std::make_shared<Bootstrap>();
  int quits = 0, reopens = 0;
  bool fails_health_checks = false;
  std::optional<admin::DrainRequest> drain;
};

struct World : AdminWorld {
  World() {
    handlers.add_to(router);
    REQUIRE(server->listen(Address::parse("127.0.0.1:0").value()).ok());
    REQUIRE(google::protobuf::util::JsonStringToMessage(R"({
      "node": {"id": "n1", "cluster": "c1"},
      "static_resources": {
        "listeners": [{"name": "l1", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 19802}}}],
        "clusters": [{"name": "web", "type": "STATIC"},
                     {"name": "dead", "type": "STATIC", "connect_timeout": "1s"}]}})",
                                                        view.bootstrap_.get())
                .ok());
  }
  std::string status(std::string_view line) { return ask(line).substr(9, 3); }
  std::string body(std::string_view line) {
    std::string all = ask(line);
    return all.substr(all.find("\r\n\r\n") + 4);
  }
  std::string type(std::string_view line) {
    std::string all = ask(line);
    size_t at = all.find("content-type: ") + 14;
    return all.substr(at, all.find('\r', at) - at);
  }
  FakeView view;
  admin::Handlers handlers{view};
};

}  // namespace

TEST_CASE("/ready follows the state and /healthcheck") {
  World w;
  CHECK(w.body("GET /ready") == "LIVE\n");
  CHECK(w.body("POST /healthcheck/fail") == "OK\n");
  CHECK(w.status("GET /ready") == "503");
  CHECK(w.body("GET /ready") == "DRAINING\n");
  CHECK(w.view.fails_health_checks);
  CHECK(w.body("POST /healthcheck/ok") == "OK\n");
  CHECK(w.status("GET /ready") == "200");
  CHECK_FALSE(w.view.fails_health_checks);
  w.view.state_ = admin::State::pre_initializing;
  CHECK(w.status("GET /ready") == "503");
  CHECK(w.body("GET /ready") == "PRE_INITIALIZING\n");
}

TEST_CASE("what changes something wants POST, and does it") {
  World w;
  for (const char* path : {"/quitquitquit", "/drain_listeners", "/healthcheck/fail", "/healthcheck/ok",
                           "/reopen_logs", "/logging"}) {
    CHECK(w.status(std::string("GET ") + path) == "405");
    CHECK(w.body(std::string("GET ") + path) == "Method GET not allowed, POST required.");
  }
  CHECK(w.view.quits == 0);
  CHECK(w.body("POST /quitquitquit") == "OK\n");
  CHECK(w.view.quits == 1);
  CHECK(w.body("POST /reopen_logs") == "OK\n");
  CHECK(w.view.reopens == 1);
  CHECK(w.status("POST /drain_listeners?skip_exit") == "400");
  CHECK_FALSE(w.view.drain);
  CHECK(w.body("POST /drain_listeners?graceful&inboundonly") == "OK\n");
  REQUIRE(w.view.drain);
  CHECK(w.view.drain->graceful);
  CHECK(w.view.drain->inbound_only);
  CHECK_FALSE(w.view.drain->skip_exit);
}

TEST_CASE("/logging") {
  World w;
  auto before = log::logger(log::Component::io).level();
  CHECK(w.body("POST /logging?io=trace").find("  io: trace\n") != std::string::npos);
  CHECK(w.body("POST /logging?paths=io:warning,config:error").find("  io: warning\n") != std::string::npos);
  CHECK(w.body("POST /logging").starts_with("active loggers:\n  main: "));
  // All or nothing.
  CHECK(w.body("POST /logging?paths=io:debug,nope:error")
            .starts_with("error: unknown logger name\n\nusage: /logging?"));
  CHECK(log::logger(log::Component::io).level() == spdlog::level::warn);
  CHECK(w.status("POST /logging?level=foo") == "400");
  CHECK(w.body("POST /logging?level=foo").starts_with("error: unknown logger level\n"));
  CHECK(w.body("POST /logging?paths=io").starts_with("error: empty logger name or empty logger level\n"));
  CHECK(w.body("POST /logging?io=debug&config=info").starts_with("error: invalid number of parameters\n"));
  CHECK(w.status("POST /logging?level=info") == "200");
  CHECK(log::logger(log::Component::config).level() == spdlog::level::info);
  log::set_all(before);
}

TEST_CASE("/listeners as Envoy has it") {
  World w;
  CHECK(w.body("GET /listeners") == "l1::127.0.0.1:19802\nl2::[::1]:19803\n");
  CHECK(w.body("GET /listeners?format=json") ==
        "{\n \"listener_statuses\": [\n  {\n   \"name\": \"l1\",\n   \"local_address\": {\n    "
        "\"socket_address\": {\n"
        "     \"address\": \"127.0.0.1\",\n     \"port_value\": 19802\n    }\n   }\n  },\n  {\n   \"name\": "
        "\"l2\",\n"
        "   \"local_address\": {\n    \"socket_address\": {\n     \"address\": \"::1\",\n     "
        "\"port_value\": 19803\n    }\n   }\n  }\n ]\n}\n");
  CHECK(w.type("GET /listeners?format=json") == "application/json");
  CHECK(w.status("GET /listeners?format=xx") == "400");
}

TEST_CASE("/certs as Envoy has it") {
  World w;
  const WallTime now = w.view.now();
  w.view.certificates_.push_back({true,
                                  "/etc/ca.pem",
                                  "0a",
                                  {"a.example"},
                                  {"spiffe://td/x"},
                                  {"10.0.0.1"},
                                  now - std::chrono::hours(1),
                                  now + std::chrono::hours(24 * 30 - 1)});
  w.view.certificates_.push_back(
      {false, "<inline>", "0b", {}, {}, {}, now - std::chrono::hours(48), now - std::chrono::hours(24)});
  auto json = Json::parse(w.body("GET /certs"));
  REQUIRE(json.ok());
  const Json& list = (*json)["certificates"];
  REQUIRE(list.items().size() == 2);
  const Json& ca = list.items()[0]["ca_cert"].items()[0];
  CHECK(list.items()[0]["cert_chain"].items().empty());
  CHECK(
      ca.dump() ==
      R"({"path":"/etc/ca.pem","serial_number":"0a","subject_alt_names":[{"dns":"a.example"},{"uri":"spiffe://td/x"},{"ip_address":"10.0.0.1"}],"days_until_expiration":"29","valid_from":"2027-01-15T07:00:00Z","expiration_time":"2027-02-14T07:00:00Z"})");
  const Json& expired = list.items()[1]["cert_chain"].items()[0];
  CHECK(expired["days_until_expiration"].as_string() == "0");
  CHECK(expired["path"].as_string() == "<inline>");
}

TEST_CASE("/clusters as Envoy has it") {
  World w;
  CHECK(
      w.body("GET /clusters") ==
      "dead::observability_name::dead\ndead::default_priority::max_connections::1024\n"
      "dead::default_priority::max_pending_requests::1024\ndead::default_priority::max_requests::1024\n"
      "dead::default_priority::max_retries::3\ndead::high_priority::max_connections::1024\n"
      "dead::high_priority::max_pending_requests::1024\ndead::high_priority::max_requests::1024\n"
      "dead::high_priority::max_retries::3\ndead::added_via_api::false\ndead::127.0.0.1:1::cx_active::0\n"
      "dead::127.0.0.1:1::cx_connect_fail::1\ndead::127.0.0.1:1::cx_total::1\ndead::127.0.0.1:1::rq_active::"
      "0\n"
      "dead::127.0.0.1:1::rq_error::0\ndead::127.0.0.1:1::rq_pending_active::0\ndead::127.0.0.1:1::rq_"
      "success::0\n"
      "dead::127.0.0.1:1::rq_timeout::0\ndead::127.0.0.1:1::rq_total::0\ndead::127.0.0.1:1::hostname::\n"
      "dead::127.0.0.1:1::health_flags::healthy\ndead::127.0.0.1:1::weight::1\ndead::127.0.0.1:1::region::\n"
      "dead::127.0.0.1:1::zone::\ndead::127.0.0.1:1::sub_zone::\ndead::127.0.0.1:1::canary::false\n"
      "dead::127.0.0.1:1::priority::0\ndead::127.0.0.1:1::success_rate::-1\ndead::127.0.0.1:1::local_origin_"
      "success_rate::-1\n");
  CHECK(w.body("GET /clusters?filter=x") == "");
  CHECK(w.status("GET /clusters?filter=((") == "400");
  std::string json = w.body("GET /clusters?format=json");
  CHECK(json.find("\"stats\": [\n      {\n       \"value\": \"1\",\n       \"name\": \"cx_connect_fail\"\n   "
                  "   },") != json.npos);
  CHECK(json.find("{\n       \"type\": \"GAUGE\",\n       \"name\": \"cx_active\"\n      }") != json.npos);
  CHECK(json.find("\"health_status\": {\n      \"eds_health_status\": \"HEALTHY\"\n     },\n     \"weight\": "
                  "1,\n     \"locality\": {}") != json.npos);
  CHECK(json.find("\"priority\": \"HIGH\",\n      \"max_connections\": 1024,") != json.npos);
}

TEST_CASE("/server_info has Envoy's fields") {
  World w;
  w.view.options_.config_path = "/etc/x.yaml";
  std::string json = w.body("GET /server_info");
  CHECK(
      json.starts_with("{\n \"version\": \"sluice/0.1.0/Clean/RELEASE/none\",\n \"state\": \"LIVE\",\n "
                       "\"uptime_current_epoch\": \"6s\","));
  envoy::admin::v3::ServerInfo info;
  REQUIRE(google::protobuf::util::JsonStringToMessage(json, &info).ok());
  CHECK(info.command_line_options().concurrency() == 2);
  CHECK(info.command_line_options().config_path() == "/etc/x.yaml");
  CHECK(info.command_line_options().drain_time().seconds() == 600);
  CHECK(info.node().id() == "n1");
  for (const char* field : {"base_id", "allow_unknown_static_fields", "local_address_ip_version",
                            "component_log_level", "file_flush_interval", "mode", "disable_hot_restart",
                            "restart_epoch", "drain_strategy", "enable_core_dump"}) {
    CHECK(json.find("\"" + std::string(field) + "\": ") != json.npos);
  }
}

TEST_CASE("/config_dump") {
  World w;
  std::string json = w.body("GET /config_dump");
  std::vector<size_t> order;
  for (const char* type :
       {"BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "SecretsConfigDump"}) {
    order.push_back(
        json.find("\n   \"@type\": \"type.googleapis.com/envoy.admin.v3." + std::string(type) + "\""));
    CHECK(order.back() != json.npos);
  }
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(json.find("\"last_updated\": \"2026-11-22T03:58:13.071Z\"") != json.npos);
  CHECK(json.find(
            "\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\",\n      \"name\": \"web\"") !=
        json.npos);
  CHECK(json.find("EndpointsConfigDump") == json.npos);

  json = w.body("GET /config_dump?include_eds&resource=static_endpoint_configs");
  CHECK(json.find("\"cluster_name\": \"dead\"") != json.npos);
  CHECK(json.find("\"port_value\": 1\n") != json.npos);
}

TEST_CASE("/config_dump: resource, mask and name_regex") {
  World w;
  CHECK(w.body("GET /config_dump?resource=static_clusters&mask=cluster.name") ==
        "{\n \"configs\": [\n  {\n   \"@type\": "
        "\"type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster\",\n"
        "   \"cluster\": {\n    \"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\",\n    "
        "\"name\": \"web\"\n   }\n  },\n"
        "  {\n   \"@type\": \"type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster\",\n"
        "   \"cluster\": {\n    \"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\",\n    "
        "\"name\": \"dead\"\n   }\n  }\n ]\n}\n");
  std::string dead = w.body("GET /config_dump?name_regex=d.*d");
  CHECK(dead.find("\"name\": \"dead\",\n      \"type\"") != dead.npos);
  CHECK(dead.find("ListenersConfigDump\"\n  }") != dead.npos);
  std::string masked = w.body("GET /config_dump?mask=bootstrap.node");
  CHECK(masked.find("\"id\": \"n1\"") != masked.npos);
  CHECK(masked.find("static_resources") == masked.npos);
  CHECK(masked.find("ClustersConfigDump") == masked.npos);
  CHECK(w.status("GET /config_dump?resource=nope") == "404");
  CHECK(w.body("GET /config_dump?resource=nope") == "nope not found in config dump");
  CHECK(w.type("GET /config_dump?resource=nope") == "text/plain");
  CHECK(w.status("GET /config_dump?resource=bootstrap") == "400");
  CHECK(w.status("GET /config_dump?resource=static_clusters&mask=foo") == "400");
  CHECK(w.status("GET /config_dump?resource=static_clusters&mask=cluster.foo") == "400");
  CHECK(w.status("GET /config_dump?name_regex=((") == "400");
}

TEST_CASE("the small ones") {
  World w;
  CHECK(w.body("GET /certs") == "{\n \"certificates\": []\n}\n");
  CHECK(w.body("GET /runtime") == "{\n \"entries\": {},\n \"layers\": []\n}\n");
  CHECK(w.body("GET /hot_restart_version") == "disabled");
  CHECK(w.status("GET /contention") == "200");
  CHECK(w.body("GET /memory").starts_with("{\n \"allocated\": \""));
  CHECK(w.body("GET /help")
            .starts_with("admin commands are:\n  /: Admin home page\n  /certs: print certs on machine\n"));
  CHECK(w.type("GET /") == "text/html; charset=UTF-8");
  CHECK(w.body("GET /").find("<form action=\"quitquitquit\" method=\"post\">") != std::string::npos);
}
