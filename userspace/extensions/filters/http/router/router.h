#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http/header_names.h"
#include "sluice/ext/http_filter.h"

// envoy.filters.http.router: the terminal filter. Carries a request to the cluster of its route and the response back.
namespace sluice::extensions::router {

struct Config {
  bool dynamic_stats = true;
  bool suppress_envoy_headers = false;
  bool respect_expected_rq_timeout = false;
  bool start_child_span = false;  // tries have spans of their own, where requests are traced
  bool suppress_grpc_failure_code_stats = false;
  std::vector<http::Name> strict_check_headers;
  std::string own_address =
      "127.0.0.1";  // who sends the copies of mirrored requests, for their x-forwarded-for
};

ext::HttpFilterFactory make_factory(std::shared_ptr<const Config> config);

}  // namespace sluice::extensions::router
