#include "config/protos.h"

#include <doctest/doctest.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "validate/validate.pb.h"

namespace sluice::config {
namespace {

TEST_CASE("every type that only an Any would name is linked in") {
  for (const char* name :
       {"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "udpa.type.v1.TypedStruct",
        "envoy.extensions.filters.network.direct_response.v3.Config", "google.protobuf.Struct",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "envoy.admin.v3.ServerInfo"}) {
    const auto* type = find_message_type(name);
    REQUIRE_MESSAGE(type != nullptr, name);
    CHECK(prototype(*type).GetDescriptor() == type);
  }
  CHECK(find_message_type("envoy.no.such.Type") == nullptr);
}

TEST_CASE("validation rules are in the descriptors") {
  const auto* field =
      envoy::config::bootstrap::v3::Bootstrap::descriptor()->FindFieldByName("stats_flush_interval");
  REQUIRE(field != nullptr);
  CHECK(field->options().GetExtension(validate::rules).duration().lt().seconds() == 300);
}

}  // namespace
}  // namespace sluice::config
