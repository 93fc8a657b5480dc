#include "extensions/filters/listener/tls_inspector/config.h"

#include <algorithm>

#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb.h"
#include "extensions/filters/listener/tls_inspector/tls_inspector.h"

namespace sluice::extensions::tls_inspector {
namespace {

using envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;

// Sizes are within their bounds: the annotations of the message say which.
Result<ext::ListenerFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                          std::string_view) {
  const auto& config = static_cast<const TlsInspector&>(message);
  Settings s;
  s.ja3 = config.enable_ja3_fingerprinting().value();
  s.ja4 = config.enable_ja4_fingerprinting().value();
  s.close_on_errors = config.close_connection_on_client_hello_parsing_errors();
  if (config.has_max_client_hello_size()) s.max_client_hello_size = config.max_client_hello_size().value();
  s.initial_read_buffer_size = s.max_client_hello_size;
  if (config.has_initial_read_buffer_size())
    s.initial_read_buffer_size = std::min(config.initial_read_buffer_size().value(), s.max_client_hello_size);
  return make_factory(s);
}

}  // namespace

ext::Extension<ext::ListenerFilterFactory> extension() {
  return {.name = "envoy.filters.listener.tls_inspector",
          .type = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
          .create = &create,
          .honoured = {
              {.message = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", .fields = "*"}}};
}

}  // namespace sluice::extensions::tls_inspector
