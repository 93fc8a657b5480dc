#include "extensions/filters/network/direct_response/config.h"

#include "envoy/extensions/filters/network/direct_response/v3/config.pb.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/network/direct_response/direct_response.h"

namespace sluice::extensions::direct_response {
namespace {

Result<ext::NetworkFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                         std::string_view path) {
  const auto& proto =
      static_cast<const envoy::extensions::filters::network::direct_response::v3::Config&>(message);
  if (!proto.has_response()) return make_factory("");
  SLUICE_ASSIGN(std::string body, read_data_source(proto.response(), std::string(path) + ".response"));
  return make_factory(std::move(body));
}

}  // namespace

ext::Extension<ext::NetworkFilterFactory> extension() {
  return {.name = "envoy.filters.network.direct_response",
          .type = "envoy.extensions.filters.network.direct_response.v3.Config",
          .terminal = true,
          .create = &create,
          .honoured = {
              {.message = "envoy.extensions.filters.network.direct_response.v3.Config", .fields = "response"},
              {.message = "envoy.config.core.v3.DataSource",
               .fields = "filename inline_bytes inline_string environment_variable"},
          }};
}

}  // namespace sluice::extensions::direct_response
