#include "tls/ca.h"

#include <doctest/doctest.h>

#include "test/unit/tls/rig.h"
#include "tls/check.h"

namespace sluice::tls::test {
namespace {

const WallTime kNow{std::chrono::seconds(1'800'000'000)};

DevelopmentCa make(DevelopmentCa::Options options = {}) {
  auto made = DevelopmentCa::make(options, kNow);
  REQUIRE_MESSAGE(made.ok(), made.error().message);
  return *made;
}

TEST_CASE("development CA: what it issues is a SPIFFE identity that TLS takes on both sides") {
  const DevelopmentCa ca = make();
  auto issued = ca.issue({.identity = "spiffe://cluster.local/ns/a/sa/b", .now = kNow});
  REQUIRE_MESSAGE(issued.ok(), issued.error().message);
  CHECK(check(*issued).ok());
  auto said = summarize(issued->chain);
  REQUIRE(said.ok());
  REQUIRE(said->size() == 1);
  CHECK((*said)[0].uri_sans == std::vector<std::string>{"spiffe://cluster.local/ns/a/sa/b"});
  CHECK((*said)[0].not_before == kNow - std::chrono::minutes(1));
  CHECK((*said)[0].not_after == kNow + std::chrono::hours(24));

  Validation trust;
  trust.ca_name = "<inline>";
  trust.trusted_ca = ca.certificate();
  SanMatcher name;
  name.type = SanMatcher::Type::uri;
  name.matcher.text = "spiffe://cluster.local/ns/a/sa/b";
  trust.sans.push_back(name);
  Bed bed;
  bed.server_settings.require_client_certificate = true;
  bed.server_secrets = {.certificates = {shared(*issued)}, .validation = shared(trust), .tickets = nullptr};
  bed.client_secrets = {.certificates = {shared(*issued)}, .validation = shared(trust)};
  bed.options.verify_names.clear();
  bed.fresh();
  bed.run();
  CHECK_MESSAGE(bed.server.socket->established(), bed.server.socket->failure());
  CHECK_MESSAGE(bed.client.socket->established(), bed.client.socket->failure());
}

TEST_CASE("development CA: keys differ, a kept CA is the same CA") {
  const DevelopmentCa ca = make();
  auto again = DevelopmentCa::load(ca.certificate(), ca.private_key());
  REQUIRE(again.ok());
  CHECK(again->trust_domain() == "cluster.local");
  const DevelopmentCa::Request request{.identity = "spiffe://cluster.local/x", .now = kNow};
  auto a = again->issue(request), b = again->issue(request);
  REQUIRE((a.ok() && b.ok()));
  CHECK(a->private_key != b->private_key);
  CHECK((*summarize(a->chain))[0].serial != (*summarize(b->chain))[0].serial);
}

TEST_CASE("development CA: what it refuses") {
  const DevelopmentCa ca = make();
  auto error = [&](DevelopmentCa::Request request) {
    request.now = kNow;
    auto out = ca.issue(request);
    REQUIRE(!out.ok());
    return out.error().message;
  };
  CHECK(error({.identity = "spiffe://other/x"}) ==
        "spiffe://other/x: this CA issues for the trust domain cluster.local alone");
  for (const char* bad :
       {"", "cluster.local/x", "spiffe://cluster.local", "spiffe:///x", "spiffe://a,URI:b/c",
        "spiffe://cluster.local/a//b", "spiffe://cluster.local/../b", "spiffe://cluster.local/a,DNS:b"})
    CHECK(error({.identity = bad}).find("is no SPIFFE ID") != std::string::npos);
  CHECK(error({.identity = "spiffe://cluster.local/x", .dns_names = {"a,URI:spiffe://b/c"}})
            .find("is no DNS name") != std::string::npos);
  CHECK(!DevelopmentCa::make({.trust_domain = "a/b"}, kNow).ok());
  CHECK(!DevelopmentCa::make({.trust_domain = ""}, kNow).ok());
  const DevelopmentCa other = make();
  CHECK(DevelopmentCa::load(ca.certificate(), other.private_key())
            .error()
            .message.starts_with("the development CA: key and certificate do not fit together"));
  auto leaf = ca.issue({.identity = "spiffe://cluster.local/x", .now = kNow});
  CHECK(DevelopmentCa::load(leaf->chain, leaf->private_key).error().message ==
        "the development CA: its certificate is no CA's");
  CHECK(!DevelopmentCa::load("", "").ok());
}

TEST_CASE("development CA: nothing outlives it, and it is not used past its end") {
  const DevelopmentCa ca = make({.constrained = false, .lifetime = std::chrono::hours(1)});
  CHECK(ca.trust_domain().empty());
  auto issued = ca.issue({.identity = "spiffe://any/x", .now = kNow});
  REQUIRE(issued.ok());
  CHECK((*summarize(issued->chain))[0].not_after == kNow + std::chrono::hours(1));
  CHECK(ca.issue({.identity = "spiffe://any/x", .now = kNow + std::chrono::hours(1)}).error().message ==
        "the development CA's own certificate has expired");
}

}  // namespace
}  // namespace sluice::tls::test
