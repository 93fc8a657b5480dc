#pragma once

#include <memory>
#include <string>

#include "extensions/access_loggers/config.h"
#include "extensions/filters/http/router/config.h"
#include "extensions/filters/listener/original_dst/config.h"
#include "extensions/filters/listener/original_src/config.h"
#include "extensions/filters/listener/proxy_protocol/config.h"
#include "extensions/filters/listener/tls_inspector/config.h"
#include "extensions/filters/network/direct_response/config.h"
#include "extensions/filters/network/echo/config.h"
#include "extensions/filters/network/http_connection_manager/config.h"
#include "extensions/filters/network/tcp_proxy/config.h"
#include "extensions/transport_sockets/tls/config.h"
#include "extensions/transport_sockets/upstream_proxy_protocol/config.h"
#include "sluice/ext/access_log_manager.h"
#include "sluice/ext/registry.h"

namespace sluice::config::test {

// The real extensions, and log files that swallow what they get.
inline const ext::Registry& registry() {
  static const ext::Registry instance = [] {
    ext::Registry r;
    r.add(extensions::tcp_proxy::extension());
    r.add(extensions::echo::extension());
    r.add(extensions::direct_response::extension());
    r.add(extensions::http_connection_manager::extension());
    r.add(extensions::router::extension());
    r.add(extensions::original_dst::extension());
    r.add(extensions::original_src::extension());
    r.add(extensions::proxy_protocol::extension());
    r.add(extensions::tls_inspector::extension());
    r.add(extensions::transport_tls::downstream_extension());
    r.add(extensions::transport_tls::upstream_extension());
    r.add(extensions::upstream_proxy_protocol::extension());
    r.add(access_loggers::file_extension());
    r.add(access_loggers::stdout_extension());
    r.add(access_loggers::stderr_extension());
    return r;
  }();
  return instance;
}

class NoLogs final : public ext::AccessLogManager {
 public:
  Result<std::shared_ptr<ext::LogFile>> open(const std::string&) override {
    return std::shared_ptr<ext::LogFile>(file_);
  }
  void reopen() override {}
  void flush() override {}

 private:
  struct File final : ext::LogFile {
    void write(std::string_view) override {}
  };
  std::shared_ptr<File> file_ = std::make_shared<File>();
};

}  // namespace sluice::config::test
