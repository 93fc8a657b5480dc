#include "extensions/filters/listener/original_dst/config.h"

#include "extensions/filters/listener/original_dst/original_dst.h"

namespace sluice::extensions::original_dst {
namespace {

Result<ext::ListenerFilterFactory> create(const google::protobuf::Message&, ext::FactoryContext&,
                                          std::string_view) {
  return make_factory();
}

}  // namespace

ext::Extension<ext::ListenerFilterFactory> extension() {
  return {.name = "envoy.filters.listener.original_dst",
          .type = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
          .create = &create,
          .honoured = {
              {.message = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst", .fields = "*"}}};
}

}  // namespace sluice::extensions::original_dst
