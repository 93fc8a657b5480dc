#include "main/builtin.h"

#include "extensions/access_loggers/config.h"
#include "extensions/filters/http/router/config.h"
#include "extensions/filters/listener/http_inspector/config.h"
#include "extensions/filters/listener/original_dst/config.h"
#include "extensions/filters/listener/original_src/config.h"
#include "extensions/filters/network/direct_response/config.h"
#include "extensions/filters/network/echo/config.h"
#include "extensions/filters/network/http_connection_manager/config.h"
#include "extensions/filters/network/tcp_proxy/config.h"

namespace sluice {

void register_builtin(ext::Registry& r) {
  // envoy.access_loggers
  r.add(access_loggers::file_extension());
  r.add(access_loggers::stdout_extension());
  r.add(access_loggers::stderr_extension());
  // envoy.filters.http
  r.add(extensions::router::extension());
  // envoy.filters.listener
  r.add(extensions::http_inspector::extension());
  r.add(extensions::original_dst::extension());
  r.add(extensions::original_src::extension());
  // envoy.filters.network
  r.add(extensions::direct_response::extension());
  r.add(extensions::echo::extension());
  r.add(extensions::http_connection_manager::extension());
  r.add(extensions::tcp_proxy::extension());
}

}  // namespace sluice
