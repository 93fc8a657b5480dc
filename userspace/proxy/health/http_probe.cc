#include "proxy/health/http_probe.h"

#include <utility>

#include "core/log.h"
#include "http/status.h"

namespace sluice::health {

using http::Name;

HttpProbe::HttpProbe(ProbeContext& context, const model::HttpHealthCheck& config, Target target, Owner& owner)
    : HttpExchange(context, std::move(target), owner, config.http2, false),
      config_(config),
      search_(config.receive, config.response_buffer_size) {}

void HttpProbe::make_request(http::HeaderMap& headers, std::string& body) {
  search_.restart();
  response_.reset();
  headers.add(Name::method, config_.method);
  headers.add(Name::authority, target().authority);
  headers.add(Name::path, config_.path);
  headers.add_static(Name::scheme, "http");
  headers.add_static(Name::user_agent, "Envoy/HC");
  add_headers(config_.headers, headers);
  if (config_.send.empty()) return;
  headers.set_integer(Name::content_length, config_.send.size());
  body = config_.send;
}

void HttpProbe::response_headers(http::HeaderMapPtr headers, bool end_stream) {
  response_ = std::move(headers);
  if (end_stream) complete();
}

void HttpProbe::response_data(const Buffer& data, bool end_stream) {
  search_.feed(data);
  if (end_stream) complete();
}

void HttpProbe::response_trailers(const http::HeaderMap&) {
  complete();
}

void HttpProbe::complete() {
  conclude(judge(), true);
  response_.reset();
}

Answer HttpProbe::judge() {
  using Kind = Answer::Kind;
  const uint16_t status = http::status_of(*response_);
  auto failed = [&](Kind kind, const char* why) {
    SLUICE_LOG(upstream, debug, "cluster {}: health check of {} failed: status {}, {}",
               context().cluster->name, target().address.to_string(), status, why);
    return Answer{
        .kind = kind, .status = status, .exclude = response_->has(Name::x_envoy_immediate_health_check_fail)};
  };
  if (!search_.found()) return failed(Kind::unwell, "the body lacks what is expected");
  if (!model::HttpHealthCheck::among(config_.expected, status))
    return failed(model::HttpHealthCheck::among(config_.retriable, status) ? Kind::retriable : Kind::unwell,
                  "unexpected status");
  if (config_.service_name) {
    context().verify_cluster.add();
    if (!config_.service_name->matches(response_->get(Name::x_envoy_upstream_healthchecked_cluster))) {
      Answer answer = failed(Kind::unwell, "another service");
      answer.exclude = false;  // as Envoy
      return answer;
    }
  }
  return {.kind = response_->has(Name::x_envoy_degraded) ? Kind::degraded : Kind::well, .status = status};
}

}  // namespace sluice::health
