#include "extensions/access_loggers/common/filter.h"

#include <doctest/doctest.h>

#include "sluice/ext/tracer.h"
#include "test/unit/extensions/access_loggers/http_stream.h"

using namespace sluice;
using namespace sluice::access_loggers;
using ext::AccessLogType;
using ext::ResponseFlag;

namespace {

bool pass(const FilterPtr& f, const ext::StreamInfo& info = recorded_stream(),
          AccessLogType type = AccessLogType::tcp_connection_end) {
  return f->pass(info, type);
}

template <typename... F>
std::vector<FilterPtr> list(F... f) {
  std::vector<FilterPtr> v;
  (v.push_back(std::move(f)), ...);
  return v;
}

}  // namespace

TEST_CASE("durations and codes are compared") {
  CHECK(pass(duration_filter(Comparison::equal, 3)));
  CHECK_FALSE(pass(duration_filter(Comparison::not_equal, 3)));
  CHECK(pass(duration_filter(Comparison::greater_or_equal, 3)));
  CHECK_FALSE(pass(duration_filter(Comparison::greater_or_equal, 4)));
  CHECK(pass(duration_filter(Comparison::less_or_equal, 3)));
  CHECK_FALSE(pass(duration_filter(Comparison::less_or_equal, 2)));
  CHECK(pass(status_code_filter(Comparison::less_or_equal, 200)));
  CHECK_FALSE(pass(status_code_filter(Comparison::greater_or_equal, 400)));
}

TEST_CASE("flags and record types") {
  CHECK_FALSE(pass(response_flag_filter({})));
  CHECK(pass(response_flag_filter({}), recorded_failure()));
  CHECK(pass(response_flag_filter({ResponseFlag::upstream_connection_failure}), recorded_failure()));
  CHECK_FALSE(pass(response_flag_filter({ResponseFlag::no_route_found}), recorded_failure()));
  CHECK(pass(log_type_filter({AccessLogType::tcp_connection_end}, false)));
  CHECK_FALSE(pass(log_type_filter({AccessLogType::tcp_connection_end}, true)));
  CHECK(pass(log_type_filter({AccessLogType::tcp_periodic}, true)));
}

TEST_CASE("and, or, chance") {
  auto everything = [] { return not_health_check_filter(); };
  auto no = [] { return status_code_filter(Comparison::equal, 1); };
  CHECK(pass(all_of(list(everything(), everything()))));
  CHECK_FALSE(pass(all_of(list(everything(), no()))));
  CHECK(pass(any_of(list(no(), everything()))));
  CHECK_FALSE(pass(any_of(list(no(), no()))));
  CHECK_FALSE(pass(random_filter(0, 100)));
  CHECK(pass(random_filter(100, 100)));
  auto half = random_filter(50, 100);
  int n = 0;
  for (int i = 0; i < 2000; ++i) n += pass(half);
  CHECK(n > 800);
  CHECK(n < 1200);
}

TEST_CASE("a filtered logger passes on what its filter passes") {
  struct Counting final : ext::AccessLogger {
    void log(const ext::StreamInfo&, AccessLogType) const override { ++n; }
    mutable int n = 0;
  };
  auto inner = std::make_shared<Counting>();
  auto logger = filtered(response_flag_filter({}), inner);
  logger->log(recorded_stream(), AccessLogType::tcp_connection_end);
  CHECK(inner->n == 0);
  logger->log(recorded_failure(), AccessLogType::tcp_connection_end);
  CHECK(inner->n == 1);
}

TEST_CASE("HTTP: status, health checks, headers, gRPC's status") {
  HttpStream s;
  CHECK(pass(status_code_filter(Comparison::equal, 200), s.info));
  CHECK_FALSE(pass(status_code_filter(Comparison::greater_or_equal, 400), s.info));
  CHECK(pass(not_health_check_filter(), s.info));
  s.http.health_check = true;
  CHECK_FALSE(pass(not_health_check_filter(), s.info));
  CHECK(pass(not_health_check_filter()));

  CHECK_FALSE(pass(traceable_filter(), s.info));
  ext::StreamTracing tracing;
  s.http.tracing = &tracing;
  tracing.reason = ext::TraceReason::sampled;
  CHECK_FALSE(pass(traceable_filter(), s.info));
  tracing.reason = ext::TraceReason::service_forced;
  CHECK_FALSE(pass(traceable_filter(), s.info));  // a health check
  s.http.health_check = false;
  CHECK(pass(traceable_filter(), s.info));
  s.http.health_check = true;

  model::HeaderMatcher m;
  m.name = "a";
  CHECK(pass(header_filter(m), s.info));
  CHECK_FALSE(pass(header_filter(m)));
  m.present = false;
  CHECK_FALSE(pass(header_filter(m), s.info));
  CHECK(pass(header_filter(m)));

  CHECK(pass(grpc_status_filter({2}, false), s.info));  // a 200 without grpc-status
  CHECK_FALSE(pass(grpc_status_filter({2}, true), s.info));
  s.response.add(http::Name::grpc_status, "7");
  CHECK(pass(grpc_status_filter({0, 7}, false), s.info));
  s.http.response_trailers = &s.trailers;
  s.trailers.add(http::Name::grpc_status, "0");
  CHECK_FALSE(pass(grpc_status_filter({7}, false), s.info));
  CHECK(pass(grpc_status_filter({2}, false)));
}

TEST_CASE("HTTP: chance goes by the request's id") {
  HttpStream s;  // 0x540310bb is 1409487035
  for (int i = 0; i < 20; ++i) {
    CHECK(pass(random_filter(36, 100), s.info));
    CHECK_FALSE(pass(random_filter(35, 100), s.info));
  }
  int n = 0;
  for (int i = 0; i < 200; ++i) n += pass(random_filter(35, 100, true), s.info);
  CHECK(n > 20);
  CHECK(n < 120);
  s.request.set(http::Name::x_request_id, "short");
  n = 0;
  for (int i = 0; i < 200; ++i) n += pass(random_filter(50, 100), s.info);
  CHECK(n > 40);
  CHECK(n < 160);
}
