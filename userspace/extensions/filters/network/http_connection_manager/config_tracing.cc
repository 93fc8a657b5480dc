#include <cmath>

#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "extensions/common/proto_tracing.h"
#include "extensions/filters/network/http_connection_manager/config_detail.h"
#include "extensions/filters/network/http_connection_manager/tracing.h"

namespace sluice::extensions::http_connection_manager {
namespace {

// As Envoy: who asks for a trace is drawn by whole percents, what is behind the point is cut off; the others by hundredths.
model::Fraction whole_percent(bool has, const envoy::type::v3::Percent& in) {
  return {has ? static_cast<uint32_t>(in.value()) : 100, 100};
}

model::Fraction hundredths(bool has, const envoy::type::v3::Percent& in) {
  return {has ? static_cast<uint32_t>(std::round(in.value() * 100)) : 10'000, 10'000};
}

}  // namespace

Result<std::shared_ptr<const Tracing>> to_tracing(const Proto& in, ext::FactoryContext& context,
                                                  const std::string& path) {
  const auto& t = in.tracing();
  auto out = std::make_shared<Tracing>();
  model::TracingRules& rules = out->rules;
  rules.sampling = {whole_percent(t.has_client_sampling(), t.client_sampling()),
                    hundredths(t.has_random_sampling(), t.random_sampling()),
                    hundredths(t.has_overall_sampling(), t.overall_sampling())};
  SLUICE_ASSIGN(rules.tags, to_custom_tags(t.custom_tags(), path + ".custom_tags"));
  SLUICE_ASSIGN(rules.operation, to_operation(t.operation(), path + ".operation"));
  SLUICE_ASSIGN(rules.upstream_operation, to_operation(t.upstream_operation(), path + ".upstream_operation"));
  rules.verbose = t.verbose();
  if (t.has_max_path_tag_length()) rules.max_path_bytes = t.max_path_tag_length().value();
  rules.egress = context.outbound();
  rules.tries_have_spans = t.spawn_upstream_span().value();
  rules.node_id = context.node_id();
  rules.zone = context.node_zone();
  SLUICE_ASSIGN(out->tracer,
                context.make_tracer(t.has_provider() ? &t.provider() : nullptr, path + ".provider"));
  return std::shared_ptr<const Tracing>(std::move(out));
}

}  // namespace sluice::extensions::http_connection_manager
