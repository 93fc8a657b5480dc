#include <google/protobuf/arena.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "config/honoured.h"
#include "config/plainly_valid.h"
#include "config/protos.h"
#include "config/validate.h"
#include "main/builtin.h"
#include "sluice/ext/registry.h"

using namespace sluice;
using namespace sluice::config;

// The first byte chooses the type.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* const types[] = {
      "envoy.config.route.v3.RouteConfiguration",
      "envoy.config.cluster.v3.Cluster",
      "envoy.config.listener.v3.Listener",
      "envoy.config.endpoint.v3.ClusterLoadAssignment",
      "envoy.config.bootstrap.v3.Bootstrap",
      "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      "envoy.extensions.transport_sockets.tls.v3.Secret",
  };
  static const google::protobuf::LogSilencer silence;  // of broken UTF-8
  static const ext::Registry registry = [] {
    ext::Registry r;
    register_builtin(r);
    return r;
  }();
  static const HonouredFields honoured(registry);
  if (size == 0) return 0;
  const auto& type = *find_message_type(types[data[0] % std::size(types)]);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (!honoured.plainly_valid()(type, bytes)) return 0;
  google::protobuf::Arena arena;
  auto* const message = prototype(type).New(&arena);
  Status good =
      message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ? Status() : Error{"no message"};
  if (good) good = validate(*message, FieldPath());
  if (good) good = honoured.check(*message, FieldPath());
  if (good) return 0;
  std::fprintf(stderr, "plainly_valid_fuzz: %s was let through: %s\n", type.full_name().c_str(),
               good.error().message.c_str());
  std::abort();
}
