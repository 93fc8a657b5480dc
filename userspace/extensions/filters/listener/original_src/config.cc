#include "extensions/filters/listener/original_src/config.h"

#include "envoy/extensions/filters/listener/original_src/v3/original_src.pb.h"
#include "extensions/filters/listener/original_src/original_src.h"

namespace sluice::extensions::original_src {
namespace {

Result<ext::ListenerFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                          std::string_view path) {
  const auto& proto =
      static_cast<const envoy::extensions::filters::listener::original_src::v3::OriginalSrc&>(message);
  if (proto.bind_port())
    return Error{std::string(path) +
                 ".bind_port: true is not supported (Envoy refuses it too): the caller's address and "
                 "port together would make the two connections share one 4-tuple; remove the field"};
  return make_factory(proto.mark());
}

}  // namespace

ext::Extension<ext::ListenerFilterFactory> extension() {
  return {.name = "envoy.filters.listener.original_src",
          .type = "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
          .create = &create,
          .honoured = {{.message = "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
                        .fields = "bind_port mark"}}};
}

}  // namespace sluice::extensions::original_src
