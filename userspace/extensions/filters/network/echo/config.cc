#include "extensions/filters/network/echo/config.h"

#include "extensions/filters/network/echo/echo.h"

namespace sluice::extensions::echo {
namespace {

Result<ext::NetworkFilterFactory> create(const google::protobuf::Message&, ext::FactoryContext&,
                                         std::string_view) {
  return make_factory();
}

}  // namespace

ext::Extension<ext::NetworkFilterFactory> extension() {
  return {.name = "envoy.filters.network.echo",
          .type = "envoy.extensions.filters.network.echo.v3.Echo",
          .terminal = true,
          .create = &create,
          .honoured = {{.message = "envoy.extensions.filters.network.echo.v3.Echo", .fields = "*"}}};
}

}  // namespace sluice::extensions::echo
