// The endpoints whose JSON is a message of Envoy's admin API.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "config/print.h"
#include "core/json.h"
#include "core/regex.h"
#include "envoy/admin/v3/clusters.pb.h"
#include "envoy/admin/v3/listeners.pb.h"
#include "server/admin/config_dump.h"
#include "server/admin/handlers.h"
#include "server/admin/server_info.h"

namespace sluice::admin {
namespace {

using HostList = google::protobuf::RepeatedPtrField<envoy::admin::v3::HostStatus>;

Response json_of(const google::protobuf::Message& message, bool all_fields = false) {
  std::string body = config::to_json(message, {.always_print_fields = all_fields});
  if (!body.ends_with('\n')) body += '\n';
  return Response::json(std::move(body));
}

void set_address(const Address& from, envoy::config::core::v3::Address* to) {
  if (from.is_ip()) {
    to->mutable_socket_address()->set_address(from.ip().to_string());
    to->mutable_socket_address()->set_port_value(from.port());
  } else {
    to->mutable_pipe()->set_path(from.path());
  }
}

Response listeners(const Request& request, View& view) {
  std::string_view format = request.get("format");
  if (request.has("format") && format != "text" && format != "json") {
    return Response::text(400, "usage: /listeners?format=(json|text)\n");
  }
  if (format == "json") {
    envoy::admin::v3::Listeners out;
    for (const ListenerStatus& l : view.listeners()) {
      auto* status = out.add_listener_statuses();
      status->set_name(l.name);
      for (size_t i = 0; i < l.addresses.size(); ++i) {
        set_address(l.addresses[i],
                    i == 0 ? status->mutable_local_address() : status->add_additional_local_addresses());
      }
    }
    return json_of(out);
  }
  std::string out;
  for (const ListenerStatus& l : view.listeners()) {
    for (const Address& a : l.addresses) out += l.name + "::" + a.to_string() + "\n";
  }
  return Response::text(200, std::move(out));
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

// In the order of Envoy's flags.
std::string health_flags(const HostStatus& h) {
  std::string flags;
  if (h.failed_active_check) flags += "/failed_active_hc";
  if (h.failed_outlier_check) flags += "/failed_outlier_check";
  if (!h.healthy) flags += "/failed_eds_health";
  if (h.degraded_active_check) flags += "/degraded_active_hc";
  if (h.healthy && h.degraded) flags += "/degraded_eds_health";
  if (h.pending_removal) flags += "/pending_dynamic_removal";
  if (h.pending_active_check) flags += "/pending_active_hc";
  if (h.excluded_by_response) flags += "/excluded_via_immediate_hc_fail";
  if (h.active_check_timeout) flags += "/active_hc_timeout";
  return flags.empty() ? "healthy" : flags;
}

std::string clusters_text(const std::vector<ClusterStatus>& clusters) {
  std::string out;
  for (const ClusterStatus& c : clusters) {
    auto line = [&](const std::string& what) { out += c.name + "::" + what + "\n"; };
    line("observability_name::" + c.observability_name);
    if (c.outlier) {
      auto rates = [&](const std::string& prefix, const ClusterStatus::SuccessRates& r) {
        line("outlier::" + prefix + "success_rate_average::" + short_number(r.average));
        line("outlier::" + prefix + "success_rate_ejection_threshold::" + short_number(r.ejection_threshold));
      };
      rates("", c.outlier->external);
      rates("local_origin_", c.outlier->local_origin);
    }
    for (bool high : {false, true}) {
      const auto& t = high ? c.high_priority : c.default_priority;
      std::string p = high ? "high_priority::" : "default_priority::";
      line(p + "max_connections::" + std::to_string(t.max_connections));
      line(p + "max_pending_requests::" + std::to_string(t.max_pending_requests));
      line(p + "max_requests::" + std::to_string(t.max_requests));
      line(p + "max_retries::" + std::to_string(t.max_retries));
    }
    line(std::string("added_via_api::") + (c.added_via_api ? "true" : "false"));
    for (const HostStatus& h : c.hosts) {
      auto host = [&](const char* name, const std::string& value) {
        line(h.address.to_string() + "::" + name + "::" + value);
      };
      host("cx_active", std::to_string(h.cx_active));
      host("cx_connect_fail", std::to_string(h.cx_connect_fail));
      host("cx_total", std::to_string(h.cx_total));
      host("rq_active", std::to_string(h.rq_active));
      host("rq_error", std::to_string(h.rq_error));
      host("rq_pending_active", std::to_string(h.rq_pending_active));
      host("rq_success", std::to_string(h.rq_success));
      host("rq_timeout", std::to_string(h.rq_timeout));
      host("rq_total", std::to_string(h.rq_total));
      host("hostname", h.hostname);
      host("health_flags", health_flags(h));
      host("weight", std::to_string(h.weight));
      host("region", h.region);
      host("zone", h.zone);
      host("sub_zone", h.sub_zone);
      host("canary", h.canary ? "true" : "false");
      host("priority", std::to_string(h.priority));
      host("success_rate", short_number(h.success_rate));
      host("local_origin_success_rate", short_number(h.local_origin_success_rate));
    }
  }
  return out;
}

void add_host(const HostStatus& h, HostList* out) {
  using envoy::admin::v3::SimpleMetric;
  auto* host = out->Add();
  set_address(h.address, host->mutable_address());
  auto metric = [&](const char* name, uint64_t value, SimpleMetric::Type type) {
    auto* m = host->add_stats();
    m->set_name(name);
    m->set_value(value);
    m->set_type(type);
  };
  metric("cx_connect_fail", h.cx_connect_fail, SimpleMetric::COUNTER);
  metric("cx_total", h.cx_total, SimpleMetric::COUNTER);
  metric("rq_error", h.rq_error, SimpleMetric::COUNTER);
  metric("rq_success", h.rq_success, SimpleMetric::COUNTER);
  metric("rq_timeout", h.rq_timeout, SimpleMetric::COUNTER);
  metric("rq_total", h.rq_total, SimpleMetric::COUNTER);
  metric("cx_active", h.cx_active, SimpleMetric::GAUGE);
  metric("rq_active", h.rq_active, SimpleMetric::GAUGE);
  metric("rq_pending_active", h.rq_pending_active, SimpleMetric::GAUGE);
  using namespace envoy::config::core::v3;
  host->mutable_health_status()->set_eds_health_status(!h.healthy   ? UNHEALTHY
                                                       : h.degraded ? DEGRADED
                                                                    : HEALTHY);
  host->mutable_health_status()->set_failed_outlier_check(h.failed_outlier_check);
  host->mutable_health_status()->set_failed_active_health_check(h.failed_active_check);
  host->mutable_health_status()->set_failed_active_degraded_check(h.degraded_active_check);
  host->mutable_health_status()->set_pending_dynamic_removal(h.pending_removal);
  host->mutable_health_status()->set_pending_active_hc(h.pending_active_check);
  host->mutable_health_status()->set_excluded_via_immediate_hc_fail(h.excluded_by_response);
  host->mutable_health_status()->set_active_hc_timeout(h.active_check_timeout);
  if (h.success_rate >= 0) host->mutable_success_rate()->set_value(h.success_rate);
  if (h.local_origin_success_rate >= 0)
    host->mutable_local_origin_success_rate()->set_value(h.local_origin_success_rate);
  host->set_weight(h.weight);
  host->set_hostname(h.hostname);
  host->set_priority(h.priority);
  auto* locality = host->mutable_locality();
  locality->set_region(h.region);
  locality->set_zone(h.zone);
  locality->set_sub_zone(h.sub_zone);
}

envoy::admin::v3::Clusters clusters_message(const std::vector<ClusterStatus>& clusters) {
  envoy::admin::v3::Clusters out;
  for (const ClusterStatus& c : clusters) {
    auto* status = out.add_cluster_statuses();
    status->set_name(c.name);
    status->set_observability_name(c.observability_name);
    status->set_added_via_api(c.added_via_api);
    for (bool high : {false, true}) {
      const auto& from = high ? c.high_priority : c.default_priority;
      auto* to = status->mutable_circuit_breakers()->add_thresholds();
      if (high) to->set_priority(envoy::config::core::v3::HIGH);
      to->mutable_max_connections()->set_value(from.max_connections);
      to->mutable_max_pending_requests()->set_value(from.max_pending_requests);
      to->mutable_max_requests()->set_value(from.max_requests);
      to->mutable_max_retries()->set_value(from.max_retries);
    }
    if (c.outlier && c.outlier->external.ejection_threshold > 0)
      status->mutable_success_rate_ejection_threshold()->set_value(c.outlier->external.ejection_threshold);
    if (c.outlier && c.outlier->local_origin.ejection_threshold > 0)
      status->mutable_local_origin_success_rate_ejection_threshold()->set_value(
          c.outlier->local_origin.ejection_threshold);
    for (const HostStatus& h : c.hosts) add_host(h, status->mutable_host_statuses());
  }
  return out;
}

void clusters(const Request& request, Reply reply, View& view) {
  std::string format(request.get("format")), filter(request.get("filter"));
  if (request.has("format") && format != "text" && format != "json") {
    return reply.send(Response::text(400, "usage: /clusters?format=(json|text)\n"));
  }
  const auto compiled = Regex::compile(filter);
  if (!compiled.ok())
    return reply.send(Response::text(400, "Invalid re2 regex: " + compiled.error().message + "\n"));
  auto shared = std::make_shared<Reply>(std::move(reply));  // std::function copies
  view.clusters([shared, pattern = *compiled, json = format == "json"](std::vector<ClusterStatus> all) {
    std::erase_if(all, [&](const ClusterStatus& c) { return !pattern.partial_match(c.name); });
    shared->send(json ? json_of(clusters_message(all)) : Response::text(200, clusters_text(all)));
  });
}

std::string date(WallTime t) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(t).time_since_epoch().count();
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// admin.v3.Certificates. Envoy has an entry for each TLS context; here each secret is one, whoever uses it.
Response certificates(View& view) {
  Json list = Json::array();
  for (const CertificateStatus& c : view.certificates()) {
    Json names = Json::array();
    auto add = [&names](const char* kind, const std::vector<std::string>& all) {
      for (const std::string& name : all) names.push(Json::object().set(kind, name));
    };
    add("dns", c.dns_sans);
    add("uri", c.uri_sans);
    add("ip_address", c.ip_sans);
    const auto days = std::chrono::duration_cast<std::chrono::hours>(c.not_after - view.now()).count() / 24;
    Json one = Json::object();
    one.set("path", c.path).set("serial_number", c.serial).set("subject_alt_names", std::move(names));
    one.set("days_until_expiration", std::to_string(std::max<int64_t>(days, 0)));
    one.set("valid_from", date(c.not_before)).set("expiration_time", date(c.not_after));
    Json entry = Json::object();
    entry.set("ca_cert", Json::array()).set("cert_chain", Json::array());
    entry.set(c.ca ? "ca_cert" : "cert_chain", Json::array().push(std::move(one)));
    list.push(std::move(entry));
  }
  if (list.items().empty()) return Response::json("{\n \"certificates\": []\n}\n");
  return Response::json(Json::object().set("certificates", std::move(list)).dump(true) + "\n");
}

}  // namespace

void Handlers::add_dumps(Router& router) {
  router.add({.path = "/certs", .help = "print certs on machine"},
             [this](const Request&) { return certificates(view_); });
  router.add({.path = "/listeners",
              .help = "print listener info",
              .params = {{"format", "File format to use; One of (text, json)"}}},
             [this](const Request& r) { return listeners(r, view_); });
  router.add_async({.path = "/clusters",
                    .help = "upstream cluster status",
                    .params = {{"filter", "Regular expression (Google re2) for filtering clusters by name"},
                               {"format", "File format to use; One of (text, json)"}}},
                   [this](const Request& r, Reply reply) { clusters(r, std::move(reply), view_); });
  router.add_async({.path = "/config_dump",
                    .help = "dump current configs",
                    .params = {{"resource", "The resource to dump"},
                               {"mask",
                                "The mask to apply. When both resource and mask are specified, the mask is "
                                "applied to every element in the "
                                "desired repeated field so that only a subset of fields are returned. The "
                                "mask is parsed as a FieldMask"},
                               {"name_regex",
                                "Dump only the currently loaded configurations whose names match the "
                                "specified regex. Can be used with "
                                "both resource and mask query parameters."},
                               {"include_eds", "Dump currently loaded configuration including EDS"}}},
                   [this](const Request& r, Reply reply) { config_dump(r, std::move(reply), view_); });
  router.add({.path = "/server_info", .help = "print server version/status information"},
             [this](const Request&) { return json_of(server_info(view_, state()), true); });
}

}  // namespace sluice::admin
