#include "extensions/filters/listener/http_inspector/config.h"

#include "extensions/filters/listener/http_inspector/http_inspector.h"

namespace sluice::extensions::http_inspector {
namespace {

Result<ext::ListenerFilterFactory> create(const google::protobuf::Message&, ext::FactoryContext&,
                                          std::string_view) {
  return make_factory();
}

}  // namespace

ext::Extension<ext::ListenerFilterFactory> extension() {
  return {.name = "envoy.filters.listener.http_inspector",
          .type = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
          .create = &create,
          .honoured = {{.message = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
                        .fields = "*"}}};
}

}  // namespace sluice::extensions::http_inspector
