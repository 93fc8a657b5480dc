#include "extensions/filters/http/buffer/config.h"

#include "envoy/extensions/filters/http/buffer/v3/buffer.pb.h"
#include "extensions/filters/http/buffer/buffer.h"

namespace sluice::extensions::buffer {
namespace {

namespace proto = envoy::extensions::filters::http::buffer::v3;

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                      std::string_view) {
  return make_factory(static_cast<const proto::Buffer&>(message).max_request_bytes().value());
}

Result<ext::HttpRouteConfigPtr> create_route(const google::protobuf::Message& message, ext::FactoryContext&,
                                             std::string_view) {
  const auto& in = static_cast<const proto::BufferPerRoute&>(message);
  auto out = std::make_shared<Settings>();
  out->disabled = in.disabled();
  out->max_request_bytes = in.buffer().max_request_bytes().value();
  return ext::HttpRouteConfigPtr(std::move(out));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.buffer";
  e.type = "envoy.extensions.filters.http.buffer.v3.Buffer";
  e.create = &create;
  e.route_type = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute";
  e.create_route = &create_route;
  e.honoured = {
      {.message = "envoy.extensions.filters.http.buffer.v3.Buffer", .fields = "max_request_bytes"},
      {.message = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute", .fields = "disabled buffer"}};
  return e;
}

}  // namespace sluice::extensions::buffer
