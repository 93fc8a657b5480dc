#pragma once

#include <memory>

#include "core/log.h"
#include "server/admin/server.h"
#include "server/admin/view.h"

namespace sluice::admin {

// Envoy's admin endpoints, apart from the statistics (stats_handler.h): paths, status codes, content types
// and texts are Envoy 1.40's. https://www.envoyproxy.io/docs/envoy/latest/operations/admin
class Handlers {
 public:
  explicit Handlers(View& view) : view_(view) {}
  void add_to(Router& router);

  // live, unless something else is the matter or /healthcheck/fail was called (Envoy calls that DRAINING).
  State state() const;

 private:
  void add_lifecycle(Router& router);
  void add_information(Router& router);
  void add_dumps(Router& router);  // dump_handlers.cc

  View& view_;
  bool failed_ = false;  // by /healthcheck/fail
};

std::string_view to_string(State state);
Response logging(const Request& request);

}  // namespace sluice::admin
