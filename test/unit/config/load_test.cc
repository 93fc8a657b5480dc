#include "config/load.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "config/honoured.h"
#include "config/print.h"
#include "config/yaml_json.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "google/protobuf/text_format.h"

namespace sluice::config {
namespace {

using envoy::config::bootstrap::v3::Bootstrap;

// A file that is gone when the test is over.
class File {
 public:
  File(const std::string& suffix, const std::string& text)
      : path_("/tmp/sluice-load-test-" + std::to_string(::getpid()) + suffix) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~File() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

const HonouredFields& lists() {
  static const HonouredFields instance;
  return instance;
}

std::string error_of(const LoadOptions& options) {
  auto loaded = load_bootstrap(options, lists());
  return loaded.ok() ? "" : loaded.error().message;
}

TEST_CASE("every format of a file") {
  Bootstrap b;
  b.mutable_node()->set_id("me");
  std::string text;
  google::protobuf::TextFormat::PrintToString(b, &text);
  for (auto& [suffix, content] :
       std::vector<std::pair<std::string, std::string>>{{".yaml", "node: {id: me}"},
                                                        {".yml", "node: {id: me}"},
                                                        {".json", "{\"node\": {\"id\": \"me\"}}"},
                                                        {".conf", "{\"node\": {\"id\": \"me\"}}"},
                                                        {".pb", b.SerializeAsString()},
                                                        {".pb_text", text}}) {
    File file(suffix, content);
    auto loaded = load_bootstrap({.path = file.path()}, lists());
    REQUIRE_MESSAGE(loaded.ok(), suffix << ": " << loaded.error().message);
    CHECK(loaded->bootstrap->node().id() == "me");
  }
  File pb(".pb", "node: {id: me}");
  CHECK(error_of({.path = pb.path()}).find("not a binary") != std::string::npos);
  File text_file(".pb_text", "node {\n idd: \"n\"\n}");
  CHECK(error_of({.path = text_file.path()}).starts_with(text_file.path() + ":2:"));
  File conf(".conf", "node: {id: me}");
  CHECK(error_of({.path = conf.path()}).find("read as JSON") != std::string::npos);
  CHECK(error_of({.path = "/nonexistent/x.yaml"}).find("/nonexistent/x.yaml: No such file") !=
        std::string::npos);
  CHECK(error_of({}).find("-c FILE") != std::string::npos);
}

TEST_CASE("--config-yaml is merged over the file, the node's flags over both") {
  File file(".yaml", "node: {id: me, cluster: c}\nstatic_resources: {clusters: [{name: a}]}");
  auto loaded = load_bootstrap({.path = file.path(),
                                .yaml = "node: {id: m}\nstatic_resources: {clusters: [{name: b}]}",
                                .service_cluster = "d",
                                .service_zone = "z"},
                               lists());
  REQUIRE_MESSAGE(loaded.ok(), loaded.error().message);
  const Bootstrap& b = *loaded->bootstrap;
  CHECK(b.node().id() == "m");
  CHECK(b.node().cluster() == "d");
  CHECK(b.node().locality().zone() == "z");
  CHECK(b.static_resources().clusters_size() == 2);
}

TEST_CASE("what is found after reading still says its line") {
  File file(".yaml",
            "node: {id: me}\n"
            "staticResources:\n"
            "  clusters:\n"
            "  - name: a\n"
            "  - name: b\n"
            "    connectTimeout: 0s\n");
  CHECK(error_of({.path = file.path()}) ==
        file.path() + ":6:5: static_resources.clusters[1].connect_timeout: value must be greater than 0s");
  CHECK(error_of({.yaml = "stats_flush_on_admin: true"}) ==
        "--config-yaml:1:1: stats_flush_on_admin: not supported by this version of Sluice; remove it");
  File missing(".yaml", "static_resources:\n  clusters:\n  - type: STATIC\n");
  CHECK(error_of({.path = missing.path()})
            .starts_with(missing.path() + ":3:5: static_resources.clusters[0].name: value length"));
}

TEST_CASE("JSON as config_dump shows it") {
  Bootstrap b;
  REQUIRE(parse_text(R"(
node: {id: "a\"b\n", metadata: {z: 1, a: [true, ~, "1.5"]}}
stats_flush_interval: 0.25s
static_resources:
  clusters: [{name: c, type: STRICT_DNS, per_connection_buffer_limit_bytes: 5}]
  listeners:
  - name: l
    filter_chains: [{filters: [{name: t, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, cluster: c}}]}]
  secrets: [{name: s, generic_secret: {secret: {inline_string: hidden}}}]
stats_server_version_override: 7
)",
                     "x", Syntax::yaml, b)
              .ok());
  b.mutable_static_resources()
      ->mutable_listeners(0)
      ->mutable_filter_chains(0)
      ->add_filters()
      ->mutable_typed_config()
      ->set_type_url("type.googleapis.com/no.such.Type");
  CHECK(
      to_json(b, {.pretty = false}) ==
      R"({"node":{"id":"a\"b\n","metadata":{"a":[true,null,"1.5"],"z":1}},"static_resources":{"listeners":[{"name":"l",)"
      R"("filter_chains":[{"filters":[{"name":"t","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.)"
      R"(network.tcp_proxy.v3.TcpProxy","cluster":"c"}},{"typed_config":{"@type":"type.googleapis.com/no.such.Type"}}]}]}],)"
      R"("clusters":[{"name":"c","type":"STRICT_DNS","per_connection_buffer_limit_bytes":5}],"secrets":[{"name":"s",)"
      R"("generic_secret":{"secret":{"inline_string":"[redacted]"}}}]},"stats_flush_interval":"0.250s",)"
      R"("stats_server_version_override":"7"})");
  Bootstrap small;
  small.mutable_node()->set_id("me");
  CHECK(to_json(small) == "{\n \"node\": {\n  \"id\": \"me\"\n }\n}");
  // What is printed can be read again.
  Bootstrap again;
  b.mutable_static_resources()->clear_listeners();
  REQUIRE(parse_text(to_json(b, {.pretty = true, .always_print_fields = false, .redact = false}), "x",
                     Syntax::json, again)
              .ok());
  CHECK(again.SerializeAsString().size() == b.SerializeAsString().size());
  CHECK(again.static_resources().secrets(0).generic_secret().secret().inline_string() == "hidden");
}

}  // namespace
}  // namespace sluice::config
