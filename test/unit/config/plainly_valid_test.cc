#include "config/plainly_valid.h"

#include <doctest/doctest.h>
#include <google/protobuf/arena.h>
#include <google/protobuf/stubs/logging.h>

#include <cstdlib>
#include <string>

#include "config/validate.h"
#include "config/wire.h"
#include "config/yaml_json.h"
#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/core/v3/protocol.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "main/builtin.h"
#include "test/unit/config/bench_configs.h"
#include "test/unit/config/istiod_verdicts.h"
#include "test/unit/config/proxy_protocol_verdicts.h"
#include "test/unit/config/random_message.h"
#include "test/unit/config/route_configs.h"
#include "test/unit/config/scoped_route_verdicts.h"
#include "test/unit/config/tls_verdicts.h"
#include "test/unit/config/verdicts.h"

// The same bytes to the walk and to the steps whose place it takes: where it says that nothing is wrong, they have to.
namespace sluice::config::test {
namespace {

namespace pb = google::protobuf;
using namespace std::string_literals;
using envoy::config::bootstrap::v3::Bootstrap;
using envoy::config::route::v3::RouteConfiguration;

const ext::Registry& builtin() {
  static const ext::Registry instance = [] {
    ext::Registry r;
    register_builtin(r);
    return r;
  }();
  return instance;
}

const HonouredFields& lists() {
  static const HonouredFields instance(builtin());
  return instance;
}

uint64_t seed() {
  const char* given = std::getenv("SLUICE_SEED");
  static const uint64_t drawn = given != nullptr ? std::strtoull(given, nullptr, 0) : random_seed();
  return drawn;
}

struct Seen {
  int plain = 0, right = 0, wrong = 0;  // of the last two the walk gave up on

  // Returns whether the steps take them.
  bool look(const pb::Descriptor& type, const std::string& bytes) {
    const bool walked = lists().plainly_valid()(type, bytes);
    pb::Arena arena;
    pb::Message* message = prototype(type).New(&arena);
    const bool parsed = message->ParseFromString(bytes);
    const Status rules = parsed ? validate(*message, FieldPath()) : Error{"no message"};
    const Status honoured = parsed ? lists().check(*message, FieldPath()) : Error{"no message"};
    const bool good = rules.ok() && honoured.ok();
    if (walked) {
      ++plain;
      REQUIRE_MESSAGE(parsed, type.full_name());
      REQUIRE_MESSAGE(rules.ok(), rules.error().message);
      REQUIRE_MESSAGE(honoured.ok(), honoured.error().message);
    } else {
      ++(good ? right : wrong);
    }
    return good;
  }
  bool look(const pb::Message& message) {
    return look(*message.GetDescriptor(), message.SerializePartialAsString());
  }
};

bool plain(const pb::Message& message) {
  return lists().plainly_valid()(*message.GetDescriptor(), message.SerializePartialAsString());
}

template <typename T>
T read(const std::string& yaml) {
  T out;
  const Status parsed = parse_text(yaml, "f.yaml", Syntax::yaml, out);
  REQUIRE_MESSAGE(parsed.ok(), parsed.error().message << "\n" << yaml);
  return out;
}

TEST_CASE("plainly valid: the configurations of the tables of verdicts") {
  Seen seen;
  const auto look = [&](const std::string& yaml) {
    Bootstrap message;
    if (parse_text(yaml.empty() ? "\n" : yaml, "f.yaml", Syntax::yaml, message)) seen.look(message);
  };
  for (const Row& row : kRows) look(row.yaml);
  for (const Row& row : kIstiodRows) look(row.yaml);
  for (const Row& row : kProxyProtocolRows) look(row.yaml);
  for (const Row& row : kScopedRouteRows) look(row.yaml);
  for (const Row& row : kServerRows) look(with_server(row.yaml));
  for (const Row& row : kClientRows) look(with_client(row.yaml));
  for (const Row& row : kAlpnRows) look(row.yaml);
  CHECK(seen.plain > 200);
  CHECK(seen.right < seen.plain / 20);
  CHECK(seen.wrong > 40);
}

TEST_CASE("plainly valid: routes with nothing wrong in them, all of them") {
  for (const RouteText& text : kRouteConfigs) {
    const auto message = read<RouteConfiguration>(text.yaml);
    if (Seen().look(message)) CHECK_MESSAGE(plain(message), text.name);
  }
}

// A virtual host with one route, and what else there is.
std::string with_route(const std::string& route, const std::string& beside = "") {
  return "{virtual_hosts: [{name: a, domains: [b], routes: [{match: {prefix: /}, " + route + "}]" + beside +
         "}]}";
}

TEST_CASE("plainly valid: on both sides of each kind of rule") {
  const auto list = [](int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += "{header: {key: k, value: v}}, ";
    return "[" + out + "]";
  };
  const std::string to = "route: {cluster: c, ", no_body = "direct_response: {status: 200}";
  const std::string any = "typed_per_filter_config: {x: {\"@type\": type.googleapis.com/";
  const std::string cors = any + "envoy.extensions.filters.http.cors.v3.CorsPolicy";
  struct {
    std::string yaml;
    bool plain;
  } table[] = {
      {with_route(no_body), true},
      {with_route("name: x"), false},  // no action
      {"{virtual_hosts: [{name: \"\", domains: [b]}]}", false},
      {"{virtual_hosts: [{name: a}]}", false},
      {"{virtual_hosts: [{name: a, domains: [\"\"]}]}", true},
      {"{virtual_hosts: [{name: a, domains: [\"a\\nb\"]}]}", false},
      {"{virtual_hosts: [{name: é, domains: [é]}]}", true},
      {"{virtual_hosts: [{name: a, domains: [b]}], vhds: {config_source: {ads: {}}}}", false},
      {"{request_headers_to_add: " + list(1000) + "}", true},
      {"{request_headers_to_add: " + list(1001) + "}", false},
      {"{request_headers_to_add: [{header: {key: \"\"}}]}", false},
      {"{request_headers_to_add: [{header: {key: \"a\\rb\"}}]}", false},
      {"{request_headers_to_add: [{header: {key: k}, append_action: 3}]}", true},
      {"{request_headers_to_add: [{header: {key: k}, append_action: 4}]}", false},
      {"{request_headers_to_add: [{}]}", false},
      {"{vhost_header: \":x\"}", true},
      {with_route("direct_response: {status: 199}"), false},
      {with_route("direct_response: {status: 599}"), true},
      {with_route("direct_response: {status: 600}"), false},
      {with_route(to + "timeout: 0s}"), true},
      {with_route(to + "max_stream_duration: {max_stream_duration: 9000000000s}}"), true},
      {with_route(to + "cluster_not_found_response_code: 2}"), true},
      {with_route(to + "cluster_not_found_response_code: 3}"), false},
      {with_route(to + "retry_policy: {per_try_timeout: 1s, retry_back_off: {base_interval: 0s}}}"), false},
      {with_route(to + "retry_policy: {retry_back_off: {base_interval: 0.000000001s}}}"), true},
      {with_route(to + "retry_policy: {retriable_status_codes: [500, 503]}}"), true},
      {with_route(to + "internal_redirect_policy: {response_headers_to_copy: [a]}}"), true},
      {with_route(to + "internal_redirect_policy: {response_headers_to_copy: [a, a]}}"), false},
      {with_route(to + "internal_redirect_policy: {redirect_response_codes: [301, 302, 303, 307, 308]}}"),
       true},
      {with_route(to +
                  "internal_redirect_policy: {redirect_response_codes: [301, 302, 303, 307, 308, 308]}}"),
       false},
      {with_route(to + "hash_policy: [{header: {header_name: x}}, {terminal: true}]}"), false},
      {with_route(to + "hash_policy: [{header: {header_name: \"\"}}]}"), false},
      {with_route(no_body, ", rate_limits: [{stage: 10, actions: [{source_cluster: {}}]}]"), true},
      {with_route(no_body, ", rate_limits: [{stage: 11, actions: [{source_cluster: {}}]}]"), false},
      {with_route(no_body, ", rate_limits: [{actions: []}]"), false},
      {with_route(no_body, ", retry_policy: {num_retries: 0}"), true},
      {with_route(no_body, ", metadata: {filter_metadata: {a: {b: [1, {c: null}]}}}"), true},
      {with_route(no_body, ", " + cors + "}}"), true},
      {with_route(no_body, ", " + cors + ", filter_enabled: {default_value: {numerator: 1}}}}"), true},
      {with_route(no_body, ", " + cors + ", filter_enabled: {}}}"), false},
      {with_route(no_body, ", " + cors + ", filter_enabled: {default_value: {denominator: 3}}}}"), false},
      {with_route(no_body, ", typed_per_filter_config: {x: {}}"), false},
      {with_route(no_body, ", " + any + "google.protobuf.Struct, value: {a: b}}}"), false},
      {with_route(no_body, ", " + any + "google.protobuf.Empty}}"), false},
      {with_route(no_body, ", " + any + "envoy.config.overload.v3.OverloadManager}}"), false},
  };
  for (const auto& row : table) {
    const auto message = read<RouteConfiguration>(row.yaml);
    CHECK_MESSAGE(plain(message) == row.plain, row.yaml.substr(0, 300));
    Seen().look(message);
  }
  using Upstream = envoy::config::core::v3::UpstreamHttpProtocolOptions;
  for (const auto& [name, good] : {std::pair("\"\"", true),
                                   {"x-sni", true},
                                   {":authority", true},
                                   {"\":\"", false},
                                   {"a:b", false},
                                   {"\"a b\"", false},
                                   {"é", false}}) {
    const auto message = read<Upstream>("{override_auto_sni_header: " + std::string(name) + "}");
    CHECK_MESSAGE(plain(message) == good, name);
    CHECK(Seen().look(message) == good);
  }
  using envoy::config::accesslog::v3::AccessLogFilter;
  for (const auto& [filters, good] : {std::pair("", false),
                                      {"{traceable_filter: {}}", false},
                                      {"{traceable_filter: {}}, {traceable_filter: {}}", true}}) {
    const auto message = read<AccessLogFilter>("{and_filter: {filters: [" + std::string(filters) + "]}}");
    CHECK_MESSAGE(plain(message) == good, filters);
    CHECK(Seen().look(message) == good);
  }
  // Types of which nothing may stand anywhere, without a field that would say so.
  for (const char* name : {"envoy.config.overload.v3.OverloadManager", "google.protobuf.FileDescriptorSet",
                           "google.protobuf.Struct", "google.protobuf.Any", "xds.type.v3.TypedStruct"})
    CHECK_MESSAGE(!lists().plainly_valid()(*find_message_type(name), ""), name);
}

// What serialisers do not write, but parsers read.
TEST_CASE("plainly valid: encodings that have to be put together, or that nobody writes") {
  const pb::Descriptor& type = *find_message_type("envoy.config.route.v3.VirtualHost");
  const auto field = [](int number, const std::string& content) {
    std::string out;
    wire::append_field(out, static_cast<uint64_t>(number), content);
    return out;
  };
  constexpr int kMetadata = envoy::config::route::v3::VirtualHost::kMetadataFieldNumber;
  const std::string good = field(1, "a") + field(2, "b");
  const std::string struct_value = field(1, field(1, "k") + field(2, field(3, "v")));
  const std::string match = field(1, field(1, "/")), redirect = field(3, "");
  const struct {
    std::string bytes;
    bool plain;
  } table[] = {
      {good, true},
      {field(2, "b") + field(1, "a"), true},
      {good + field(2, "c"), true},
      {good + field(1, "c"), false},  // a name twice
      {good + "\x20\x01", true},  // require_tls
      {good + "\x20\x81\x00"s, false},  // with more bytes than it needs
      {good + "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false},  // -1
      {good + "\x20\x01\x20\x01", false},
      {good + "\xa0\x00\x01"s, false},  // a tag of two bytes that needs one
      {good + "\x21\x01\x00\x00\x00\x00\x00\x00\x00"s, false},  // 64 bits for a varint
      {good + "\x23\x24", false},  // a group
      {good + "\x00"s, false},
      {good + "\x20", false},
      {good + field(1000, "x"), false},
      {good + field(kMetadata, field(1, field(1, "x") + field(2, struct_value))), true},  // metadata
      {good + field(kMetadata, "") + field(kMetadata, ""), false},
      {good + field(kMetadata, field(1, field(2, struct_value) + field(1, "x"))), false},
      {good + field(kMetadata, field(1, field(1, "x"))), false},
      {good + field(kMetadata, field(1, field(1, "x") + field(1, "y") + field(2, struct_value))), false},
      {good + field(kMetadata, field(1, field(1, "\xff") + field(2, struct_value))), false},
      {good.substr(0, good.size() - 1), false},
      {good + field(3, match + redirect), true},
      {good + field(3, match + redirect + redirect), false},
      {good + field(3, match + redirect + field(2, field(1, "c"))), false},  // two of one oneof
  };
  const pb::LogSilencer silence;
  for (const auto& row : table) {
    CHECK_MESSAGE(lists().plainly_valid()(type, row.bytes) == row.plain, (&row - table));
    Seen().look(type, row.bytes);
  }
  // As deep as nobody means it: protobuf's parser goes less deep than some of these.
  for (int depth : {5, 10, 60, 200}) {
    std::string value = field(3, "v");
    for (int i = 0; i < depth; ++i) value = field(6, field(1, value));  // a list in a list
    const std::string bytes =
        good +
        field(kMetadata, field(1, field(1, "x") + field(2, field(1, field(1, "k") + field(2, value)))));
    CHECK(lists().plainly_valid()(type, bytes) == (depth <= 10));
    Seen().look(type, bytes);
  }
}

TEST_CASE("plainly valid: the configurations of the benchmarks") {
  for (const char* const name : test::kBenchConfigs)
    CHECK_MESSAGE(plain(read<Bootstrap>(test::bench_config(name))), name);
}

const pb::Descriptor& type_of(uint64_t i) {
  static const char* const names[] = {
      "envoy.config.route.v3.RouteConfiguration",
      "envoy.config.route.v3.VirtualHost",
      "envoy.config.route.v3.ScopedRouteConfiguration",
      "envoy.config.cluster.v3.Cluster",
      "envoy.config.endpoint.v3.ClusterLoadAssignment",
      "envoy.config.listener.v3.Listener",
      "envoy.config.bootstrap.v3.Bootstrap",
      "envoy.config.core.v3.TypedExtensionConfig",
      "envoy.extensions.transport_sockets.tls.v3.Secret",
      "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
  };
  return *find_message_type(names[i % std::size(names)]);
}

std::string random_bytes(RandomMessage& random, const pb::Descriptor& type) {
  pb::Arena arena;
  pb::Message* message = prototype(type).New(&arena);
  random.fill(*message);
  return message->SerializePartialAsString();
}

TEST_CASE("plainly valid: random messages, of which most are right") {
  CAPTURE(seed());
  RandomMessage random(seed(), builtin(), lists(), 0);
  Seen seen;
  for (uint64_t i = 0; i < 3'000; ++i) seen.look(type_of(i), random_bytes(random, type_of(i)));
  CHECK(seen.plain > 1'000);
  CHECK(seen.right < seen.plain / 4);
}

TEST_CASE("plainly valid: random messages in which some things are wrong") {
  const pb::LogSilencer silence;  // of broken UTF-8
  CAPTURE(seed());
  RandomMessage random(seed(), builtin(), lists(), 300);
  Seen seen;
  for (uint64_t i = 0; i < 6'000; ++i) seen.look(type_of(i), random_bytes(random, type_of(i)));
  CHECK(seen.plain > 1'000);
  CHECK(seen.wrong > 1'000);
}

TEST_CASE("plainly valid: bytes changed, left out and put in at random") {
  const pb::LogSilencer silence;  // of broken UTF-8
  CAPTURE(seed());
  RandomMessage random(seed(), builtin(), lists(), 0);
  Seen seen;
  for (uint64_t i = 0; i < 1'000; ++i) {
    const pb::Descriptor& type = type_of(i);
    const std::string whole = random_bytes(random, type);
    for (int k = 0; k < 20 && !whole.empty(); ++k) {
      std::string bytes = whole;
      for (uint64_t n = 1 + random.random().below(2); n > 0 && !bytes.empty(); --n) {
        const size_t at = random.random().below(bytes.size());
        switch (random.random().below(5)) {
          case 0:
            bytes[at] = static_cast<char>(random.random().next());
            break;
          case 1:
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.random().below(8)));
            break;
          case 2:
            bytes.erase(at, 1 + random.random().below(4));
            break;
          case 3:
            bytes.resize(at);
            break;
          default:
            bytes.insert(at, bytes.substr(random.random().below(bytes.size()), random.random().below(12)));
        }
      }
      seen.look(type, bytes);
    }
  }
  CHECK(seen.plain > 500);
  CHECK(seen.wrong > 2'000);
}

}  // namespace
}  // namespace sluice::config::test
