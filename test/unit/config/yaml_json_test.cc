#include "config/yaml_json.h"

#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

#include <string>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"

namespace sluice::config {
namespace {

using envoy::config::bootstrap::v3::Bootstrap;
using envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;

Bootstrap read(std::string_view text, Syntax syntax = Syntax::yaml) {
  Bootstrap out;
  auto status = parse_text(text, "f.yaml", syntax, out);
  REQUIRE_MESSAGE(status.ok(), status.error().message);
  return out;
}

std::string refused(std::string_view text, Syntax syntax = Syntax::yaml) {
  Bootstrap out;
  auto status = parse_text(text, "f.yaml", syntax, out);
  return status.ok() ? "accepted: " + out.ShortDebugString() : status.error().message;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("names in snake_case and lowerCamelCase, YAML and JSON") {
  auto a = read("static_resources: {clusters: [{name: c, connect_timeout: 0.25s}]}");
  auto b = read("staticResources:\n  clusters:\n  - name: c\n    connectTimeout: 0.25s\n");
  auto c = read(R"({"static_resources": {"clusters": [{"name": "c", "connectTimeout": "0.250s"}]}})",
                Syntax::json);
  CHECK(a.SerializeAsString() == b.SerializeAsString());
  CHECK(a.SerializeAsString() == c.SerializeAsString());
  CHECK(a.static_resources().clusters(0).connect_timeout().nanos() == 250'000'000);
}

TEST_CASE("scalars as Envoy reads them") {
  auto port = [](std::string value) {
    auto b = read("admin: {address: {socket_address: {address: 127.0.0.1, port_value: " + value + "}}}");
    return b.admin().address().socket_address().port_value();
  };
  CHECK(port("8080") == 8080);
  CHECK(port("\"8080\"") == 8080);
  CHECK(port("0x10") == 16);
  CHECK(port("010") == 8);
  CHECK(port("1.0") == 1);
  CHECK(port("1e3") == 1000);
  CHECK(port("4294967295") == 4294967295u);
  auto b = read(
      "admin: {address: {socket_address: {address: \"::1\", port_value: 1, ipv4_compat: yes, protocol: "
      "udp}}}");
  CHECK(b.admin().address().socket_address().ipv4_compat());
  CHECK(b.admin().address().socket_address().protocol() == envoy::config::core::v3::SocketAddress::UDP);
  CHECK(read("node: {id: 1.5}").node().id() == "1.5");
  CHECK(read("node: {id: null}").node().id().empty());
  CHECK(read("admin: ~").has_admin() == false);
  // A lone value is a list of one.
  CHECK(read("static_resources: {clusters: {name: c}}").static_resources().clusters_size() == 1);
}

TEST_CASE("struct, wrappers, maps, bytes, aliases") {
  auto b = read(R"(
node:
  id: &id "n"
  cluster: *id
  metadata: {a: x, b: 1, c: true, d: ~, e: [1, {f: g}], big: 3000000000, 1: one}
static_resources:
  clusters:
  - name: c
    per_connection_buffer_limit_bytes: 32768
    metadata: {filter_metadata: {envoy.lb: {canary: true}}}
    load_assignment:
      cluster_name: c
      endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /x}}}}]}]
)");
  CHECK(b.node().cluster() == "n");
  const auto& m = b.node().metadata().fields();
  CHECK(m.at("b").number_value() == 1);
  CHECK(m.at("c").bool_value());
  CHECK(m.at("d").has_null_value());
  CHECK(m.at("e").list_value().values(1).struct_value().fields().at("f").string_value() == "g");
  CHECK(m.at("big").string_value() == "3000000000");
  CHECK(m.at("1").string_value() == "one");
  const auto& c = b.static_resources().clusters(0);
  CHECK(c.per_connection_buffer_limit_bytes().value() == 32768);
  CHECK(c.metadata().filter_metadata().at("envoy.lb").fields().at("canary").bool_value());
  auto bytes =
      read("static_resources: {secrets: [{name: s, generic_secret: {secret: {inline_bytes: aGVsbG8=}}}]}");
  CHECK(bytes.static_resources().secrets(0).generic_secret().secret().inline_bytes() == "hello");
}

TEST_CASE("an Any is read by its @type, nested ones too") {
  auto b = read(R"(
static_resources:
  listeners:
  - name: l
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: p
          cluster: c
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/stdout
      - name: t
        typed_config:
          "@type": type.googleapis.com/xds.type.v3.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          value: {stat_prefix: q, max_connect_attempts: 3, idle_timeout: 5s}
      - name: s
        typed_config: {"@type": type.googleapis.com/google.protobuf.Struct, value: {a: b}}
)");
  const auto& filters = b.static_resources().listeners(0).filter_chains(0).filters();
  TcpProxy proxy;
  REQUIRE(filters[0].typed_config().UnpackTo(&proxy));
  CHECK(proxy.cluster() == "c");
  CHECK(proxy.access_log(0).typed_config().type_url() ==
        "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog");
  google::protobuf::Struct plain;
  REQUIRE(filters[2].typed_config().UnpackTo(&plain));
  CHECK(plain.fields().at("a").string_value() == "b");
}

TEST_CASE("errors say where, what and what to do") {
  struct {
    const char* text;
    std::vector<const char*> parts;
  } table[] = {
      {"node:\n  idd: x\n", {"f.yaml:2:3: node.idd: no such field", "envoy.config.core.v3.Node", "\"id\""}},
      {"static_resources:\n  listeners:\n  - name: a\n  - nam: b\n",
       {"f.yaml:4:5: static_resources.listeners[1].nam", "did you mean \"name\""}},
      {"static_resources: {clusters: [{name: c, hosts: []}]}",
       {"clusters[0].hosts", "v2", "load_assignment"}},
      {"static_resources: {clusters: [{name: c, tls_context: {}}]}", {"UpstreamTlsContext"}},
      {"static_resources: {listeners: [{filter_chains: [{filters: [{name: x, config: {}}]}]}]}",
       {"typed_config"}},
      {"node: {id: 123}", {"f.yaml:1:12: node.id: must be a string", "quotes"}},
      {"node: {id: yes}", {"node.id: must be a string, and yes without quotes"}},
      {"node: {id: [a]}", {"must be a string, not a list"}},
      {"node: 5", {"node: must be a map", "not 5"}},
      {"stats_flush_interval: 5", {"\"5s\""}},
      {"stats_flush_interval: 500ms", {"in seconds"}},
      {"stats_flush_interval: 1h", {"in seconds"}},
      {"node: {id: a}\nnode: {id: b}", {"f.yaml:2:1", "duplicate key \"node\""}},
      {"stats_flush_interval: 1s\nstatsFlushInterval: 2s", {"f.yaml:2:1", "given twice"}},
      {"admin: {address: {socket_address: {address: a, port_value: 1, named_port: x}}}",
       {"named_port: excludes \"port_value\""}},
      {"admin: {address: {socket_address: {port_value: 1.5}}}",
       {"port_value: must be an integer from 0 to 4294967295"}},
      {"admin: {address: {socket_address: {port_value: -1}}}", {"port_value: must be an integer"}},
      {"admin: {address: {socket_address: {protocol: SCTP}}}", {"one of TCP, UDP"}},
      {"admin: {address: {socket_address: {ipv4_compat: 1}}}", {"true or false"}},
      {"static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {a: b}}]}]}]}",
       {"\"@type\" is missing"}},
      {"static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {\"@type\": "
       "type.googleapis.com/envoy.config.filter.network.tcp_proxy.v2.TcpProxy}}]}]}]}",
       {"typed_config.@type", "v3.TcpProxy"}},
      {"static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {\"@type\": "
       "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefx: p}}]}]}]}",
       {"filters[0].typed_config.stat_prefx: no such field", "\"stat_prefix\""}},
      {"static_resources: {listeners: [~]}", {"listeners[0]: an entry of this list is empty"}},
      {"a: &a [*a]", {"alias"}},
      {"node: {id: !secret x}", {"tag"}},
      {"node: {id: a}\n---\nnode: {id: b}", {"f.yaml:3:1", "second YAML document"}},
      {"node:\n\t id: a", {"f.yaml:2:", "tabs"}},
      {"node: {id: {{ .Values.id }} }", {"f.yaml:1:"}},
      {"node: {id: a", {"f.yaml:", "not valid YAML"}},
      {"node: {id: a}\n]", {"f.yaml:2:1", "not valid YAML"}},
      {",]", {"f.yaml:1:1", "follows the end"}},
      {"", {"f.yaml: is empty"}},
      {"abc", {"f.yaml:1:1: must be a map"}},
      {"\xff\xfe", {"f.yaml:1:1", "UTF-8"}},
      {"node: {metadata: {a: *nobody}}", {"f.yaml:1:"}},
      {"admin: {<<: {}}", {"merge keys"}},
  };
  for (const auto& row : table) {
    const std::string error = refused(row.text);
    for (const char* part : row.parts) CHECK_MESSAGE(has(error, part), row.text << " -> " << error);
  }
}

TEST_CASE("broken JSON") {
  struct {
    const char* text;
    const char* part;
  } table[] = {
      {"{\"node\": {\"id\": \"a\",}}", "f.yaml:1:21: expected a key"},
      {"{\"node\": {\"id\": 'a'}}", "quoted with \""},
      {"{\n// hello\n}", "f.yaml:2:1: expected a key"},
      {"{\"node\": {}} x", "something follows"},
      {"{\"node\": {\"id\": \"a}}", "has no end"},
      {"{\"node\": {\"id\": \"\\ud800\"}}", "surrogate"},
      {"{\"node\": {}, \"node\": {}}", "duplicate key"},
      {"{\"stats_flush_interval\": 01}", "number"},
      {"{\"node\"", "expected \":\""},
  };
  for (const auto& row : table) {
    const std::string error = refused(row.text, Syntax::json);
    CHECK_MESSAGE(has(error, row.part), row.text << " -> " << error);
  }
  CHECK(read(R"({"node": {"id": "\ud83d\ude00\u00e9\n\/"}})", Syntax::json).node().id() == "😀é\n/");
}

TEST_CASE("hostile input is bounded") {
  const std::string deep(100'000, '[');
  CHECK(has(refused("node: {metadata: {a: " + deep), "f.yaml:"));
  CHECK(has(refused("{\"node\": {\"metadata\": {\"a\": " + deep, Syntax::json), "nested more than"));
  std::string bomb = "node:\n  metadata:\n    a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string p = "*a" + std::to_string(i - 1);
    bomb += "    a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + p;
    for (int k = 0; k < 9; ++k) bomb += "," + p;
    bomb += "]\n";
  }
  CHECK(has(refused(bomb), "aliases"));
}

TEST_CASE("a Struct that holds a message") {
  google::protobuf::Struct value;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(
      R"(fields { key: "stat_prefix" value { string_value: "p" } }
         fields { key: "max_connect_attempts" value { number_value: 3 } }
         fields { key: "idleTimeout" value { string_value: "5s" } })",
      &value));
  TcpProxy proxy;
  auto ok = parse_struct(value, FieldPath("a.b"), proxy);
  REQUIRE_MESSAGE(ok.ok(), ok.error().message);
  CHECK(proxy.max_connect_attempts().value() == 3);
  CHECK(proxy.idle_timeout().seconds() == 5);
  (*value.mutable_fields())["clustr"].set_string_value("c");
  auto bad = parse_struct(value, FieldPath("a.b"), proxy);
  REQUIRE(!bad.ok());
  CHECK(has(bad.error().message, "a.b.clustr: no such field"));
}

}  // namespace
}  // namespace sluice::config
