#include "config/plain_assignment.h"

#include <doctest/doctest.h>
#include <google/protobuf/stubs/logging.h>

#include <optional>
#include <string>

#include "config/honoured.h"
#include "config/translate.h"
#include "config/validate.h"
#include "core/random.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"

// The same bytes to the reader of plain assignments and to the three steps that any resource takes: what the first makes
// of them, the others have to make, too.
namespace sluice::config {
namespace {

using envoy::config::endpoint::v3::ClusterLoadAssignment;
using AssignmentPtr = std::shared_ptr<const model::Assignment>;

AssignmentPtr by_all_steps(const std::string& bytes) {
  static const HonouredFields honoured;
  ClusterLoadAssignment message;
  if (!message.ParseFromString(bytes) || !validate(message, FieldPath()) ||
      !honoured.check(message, FieldPath()))
    return nullptr;
  auto made = translate(message, FieldPath());
  return made.ok() ? *made : nullptr;
}

std::string text(const std::shared_ptr<const model::LbMetadata>& metadata) {
  if (!metadata) return "none";
  std::string out;
  for (const auto& f : metadata->fields) {
    out += f.key + "=" + f.value + (f.list ? "[" : ";");
    for (const auto& e : f.elements) out += e + ",";
  }
  return out;
}

std::string text(const model::Assignment& a) {
  std::string out = std::to_string(a.overprovisioning_factor) + " " +
                    std::to_string(a.weighted_priority_health) + " " + std::to_string(a.stale_after.count()) +
                    "\n";
  for (const auto& l : a.localities) {
    out += l.region + "/" + l.zone + "/" + l.sub_zone + " " + std::to_string(l.priority) + " " +
           std::to_string(l.weight) + "\n";
    for (const auto& e : l.endpoints)
      out += "  " + e.address.to_string() + " " + e.dns_name + std::to_string(e.dns_port) + " " + e.hostname +
             " " + std::to_string(e.weight) + " " + std::to_string(static_cast<int>(e.health)) + " " +
             std::to_string(e.canary) + " " + e.hash_key + " " + text(e.lb_metadata) + " " +
             text(e.transport_metadata) + " " +
             (e.health_address.valid() ? e.health_address.to_string() : "") + std::to_string(e.health_port) +
             e.health_hostname + std::to_string(e.health_check_disabled) + "\n";
  }
  return out;
}

struct Maker {
  Random random{11};
  bool odd = false;  // something that is not plain, or wrong, may come

  bool maybe(uint64_t one_in) { return random.below(one_in) == 0; }
  bool oddly() { return odd && maybe(40); }
  std::string ip() {
    if (oddly()) return maybe(2) ? "" : "host.example";
    if (maybe(5)) return "fd00::" + std::to_string(random.below(9999));
    return "10.0." + std::to_string(random.below(256)) + "." + std::to_string(random.below(256));
  }
  std::string name() {
    return oddly() ? (maybe(2) ? "" : "zoné") : "name-" + std::to_string(random.below(9));
  }

  void fill(envoy::config::core::v3::Metadata& m) {
    if (oddly()) (*m.mutable_typed_filter_metadata())["x"].set_type_url("type.googleapis.com/what.Is.That");
    static const char* const keys[] = {"envoy.lb", "envoy.transport_socket_match", "istio", ""};
    for (uint64_t n = random.below(3); n > 0; --n) {
      auto& fields = *(*m.mutable_filter_metadata())[keys[random.below(odd ? 4 : 3)]].mutable_fields();
      fields["version"].set_string_value(name());
      if (maybe(2)) fields["canary"].set_bool_value(maybe(2));
      if (maybe(2)) fields["hash_key"].set_string_value("key");
      if (maybe(3)) fields["list"].mutable_list_value()->add_values()->set_number_value(1.5);
    }
  }

  ClusterLoadAssignment make() {
    ClusterLoadAssignment a;
    a.set_cluster_name(name());
    if (oddly()) a.mutable_policy()->mutable_overprovisioning_factor()->set_value(200);
    if (oddly()) (*a.mutable_named_endpoints())["x"].set_hostname("x");
    for (uint64_t n = random.below(4); n > 0; --n) {
      auto& l = *a.add_endpoints();
      if (maybe(2)) l.mutable_locality()->set_zone(name());
      if (maybe(3)) l.mutable_locality()->set_region(name());
      if (maybe(4)) l.mutable_locality()->set_sub_zone(name());
      if (maybe(3)) l.set_priority(static_cast<uint32_t>(oddly() ? 129 : random.below(129)));
      if (maybe(3))
        l.mutable_load_balancing_weight()->set_value(
            static_cast<uint32_t>(oddly() ? 0 : 1 + random.below(9)));
      if (oddly()) l.mutable_proximity()->set_value(1);
      if (oddly()) fill(*l.mutable_metadata());
      for (uint64_t k = random.below(5); k > 0; --k) {
        auto& e = *l.add_lb_endpoints();
        if (oddly()) {
          e.set_endpoint_name("x");
          continue;
        }
        auto& address = *e.mutable_endpoint()->mutable_address();
        if (oddly()) {
          address.mutable_pipe()->set_path("/run/x");
        } else if (!oddly()) {
          auto& socket = *address.mutable_socket_address();
          socket.set_address(ip());
          if (!oddly()) socket.set_port_value(static_cast<uint32_t>(oddly() ? 65536 : random.below(65536)));
          if (oddly()) socket.set_protocol(envoy::config::core::v3::SocketAddress::UDP);
          if (oddly()) socket.set_ipv4_compat(true);
        }
        if (maybe(4)) e.mutable_endpoint()->set_hostname(name());
        if (oddly()) e.mutable_endpoint()->mutable_health_check_config()->set_port_value(80);
        if (oddly()) e.mutable_endpoint()->add_additional_addresses();
        if (maybe(3))
          e.set_health_status(static_cast<envoy::config::core::v3::HealthStatus>(random.below(odd ? 8 : 6)));
        if (maybe(3))
          e.mutable_load_balancing_weight()->set_value(
              static_cast<uint32_t>(oddly() ? 0 : 1 + random.below(9)));
        if (maybe(3)) fill(*e.mutable_metadata());
      }
    }
    return a;
  }
};

TEST_CASE("plain assignments: what the API's rules, the honoured fields and the translation make of them") {
  Maker maker;
  for (int i = 0; i < 3'000; ++i) {
    const std::string bytes = maker.make().SerializeAsString();
    const auto plain = read_plain_assignment(bytes);
    const auto all = by_all_steps(bytes);
    REQUIRE(plain);
    REQUIRE(all);
    REQUIRE(text(*plain) == text(*all));
  }
}

TEST_CASE("plain assignments: anything else, right or wrong, is left to others") {
  Maker maker;
  maker.odd = true;
  int plain_ones = 0, left_and_right = 0, wrong = 0;
  for (int i = 0; i < 6'000; ++i) {
    const std::string bytes = maker.make().SerializeAsString();
    const auto plain = read_plain_assignment(bytes);
    const auto all = by_all_steps(bytes);
    if (plain) {
      ++plain_ones;
      REQUIRE(all);
      REQUIRE(text(*plain) == text(*all));
    } else {
      ++(all ? left_and_right : wrong);
    }
  }
  CHECK(plain_ones > 500);
  CHECK(left_and_right > 200);
  CHECK(wrong > 500);
}

TEST_CASE("plain assignments: bytes changed, left out and put in at random") {
  const google::protobuf::LogSilencer silence;  // of broken UTF-8
  Maker maker;
  Random random(5);
  int plain_ones = 0;
  for (int i = 0; i < 30'000; ++i) {
    std::string bytes = maker.make().SerializeAsString();
    for (uint64_t n = 1 + random.below(3); n > 0 && !bytes.empty(); --n) {
      const size_t at = random.below(bytes.size());
      switch (random.below(4)) {
        case 0:
          bytes[at] = static_cast<char>(random.next());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
          break;
        case 2:
          bytes.erase(at, 1 + random.below(4));
          break;
        default:
          bytes.insert(at, bytes.substr(random.below(bytes.size()), random.below(12)));
      }
    }
    const auto plain = read_plain_assignment(bytes);
    if (!plain) continue;
    ++plain_ones;
    const auto all = by_all_steps(bytes);
    REQUIRE(all);
    REQUIRE(text(*plain) == text(*all));
  }
  CHECK(plain_ones > 1'000);
}

}  // namespace
}  // namespace sluice::config
