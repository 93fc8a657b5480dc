#include "main/builtin.h"

#include "extensions/access_loggers/config.h"
#include "extensions/filters/http/buffer/config.h"
#include "extensions/filters/http/cors/config.h"
#include "extensions/filters/http/fault/config.h"
#include "extensions/filters/http/grpc_stats/config.h"
#include "extensions/filters/http/header_mutation/config.h"
#include "extensions/filters/http/health_check/config.h"
#include "extensions/filters/http/local_ratelimit/config.h"
#include "extensions/filters/http/rbac/config.h"
#include "extensions/filters/http/router/config.h"
#include "extensions/filters/listener/http_inspector/config.h"
#include "extensions/filters/listener/original_dst/config.h"
#include "extensions/filters/listener/original_src/config.h"
#include "extensions/filters/listener/proxy_protocol/config.h"
#include "extensions/filters/listener/tls_inspector/config.h"
#include "extensions/filters/network/direct_response/config.h"
#include "extensions/filters/network/echo/config.h"
#include "extensions/filters/network/http_connection_manager/config.h"
#include "extensions/filters/network/rbac/config.h"
#include "extensions/filters/network/tcp_proxy/config.h"
#include "extensions/tracers/zipkin/config.h"
#include "extensions/transport_sockets/tls/config.h"
#include "extensions/transport_sockets/upstream_proxy_protocol/config.h"

namespace sluice {

void register_builtin(ext::Registry& r) {
  // envoy.access_loggers
  r.add(access_loggers::file_extension());
  r.add(access_loggers::stdout_extension());
  r.add(access_loggers::stderr_extension());
  // envoy.filters.http
  r.add(extensions::buffer::extension());
  r.add(extensions::cors::extension());
  r.add(extensions::fault::extension());
  r.add(extensions::grpc_stats::extension());
  r.add(extensions::header_mutation::extension());
  r.add(extensions::health_check::extension());
  r.add(extensions::local_ratelimit::extension());
  r.add(extensions::http_rbac::extension());
  r.add(extensions::router::extension());
  // envoy.filters.listener
  r.add(extensions::http_inspector::extension());
  r.add(extensions::original_dst::extension());
  r.add(extensions::original_src::extension());
  r.add(extensions::proxy_protocol::extension());
  r.add(extensions::tls_inspector::extension());
  // envoy.filters.network
  r.add(extensions::direct_response::extension());
  r.add(extensions::echo::extension());
  r.add(extensions::http_connection_manager::extension());
  r.add(extensions::network_rbac::extension());
  r.add(extensions::tcp_proxy::extension());
  // envoy.tracers
  r.add(extensions::zipkin::extension());
  // envoy.transport_sockets
  r.add(extensions::transport_tls::downstream_extension());
  r.add(extensions::transport_tls::upstream_extension());
  r.add(extensions::upstream_proxy_protocol::extension());
}

}  // namespace sluice
