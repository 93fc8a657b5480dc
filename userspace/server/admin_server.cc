#include "server/admin_server.h"

#include <fstream>
#include <map>

#include "core/log.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "server/control.h"
#include "server/server.h"
#include "sluice/ext/access_log_manager.h"
#include "tls/check.h"
#include "tls/inline_secrets.h"
#include "xds/node.h"

namespace sluice::server {

AdminServer::AdminServer(Server& server) : server_(server), stats_(*server.loop_, *server.store_) {
  stats_.before_reading([this] {
    if (server_.dynamic_) server_.dynamic_->tell_counts();
  });
}

AdminServer::~AdminServer() = default;

void AdminServer::add_common(admin::Router& router) {
  stats_.add_to(router);
  handlers_.add_to(router);
}

Status AdminServer::start_admin() {
  const auto& bootstrap = server_.configuration_.model;
  if (!bootstrap.admin) return {};
  add_common(admin_router_);
  admin_ = std::make_unique<admin::Server>(*server_.loop_, admin_router_);
  if (Status s = admin_->listen(bootstrap.admin->address); !s)
    return std::move(s).error().prefixed("admin.address");
  const Address& bound = admin_->addresses().front();
  SLUICE_LOG(admin, info, "admin interface on {}", bound.to_string());
  if (const std::string& path = server_.options_.admin_address_path; !path.empty()) {
    std::ofstream out(path);
    out << bound.to_string();
    if (!out.flush()) return Error{"--admin-address-path: cannot write " + path};
  }
  return {};
}

Status AdminServer::start_control() {
  if (control_) return {};
  const Options& o = server_.options_;
  std::string path = o.control_socket;
  if (path.empty() && server_.redirector_) path = o.state_dir + "/control.sock";
  if (path.empty() || path == "none") return {};
  add_common(control_router_);
  add_control_routes(
      control_router_, *this, [this] { return server_.workloads_.get(); }, server_.redirector_.get(),
      server_.workers_);
  control_ = std::make_unique<admin::Server>(*server_.loop_, control_router_);
  SLUICE_ASSIGN(Address address, Address::pipe(path));
  if (Status s = control_->listen(address); !s)
    return std::move(s).error().prefixed("--control-socket " + path);
  SLUICE_LOG(admin, info, "control socket {}", path);
  return {};
}

void AdminServer::stop() {
  if (admin_) admin_->stop();
  if (control_) control_->stop();
}

bool AdminServer::idle() const {
  return (!admin_ || admin_->idle()) && (!control_ || control_->idle());
}

// ---- admin::View ----

admin::State AdminServer::state() {
  return server_.state_;
}
Duration AdminServer::uptime() {
  return server_.loop_->now() - server_.started_;
}
WallTime AdminServer::config_loaded_at() {
  return server_.config_loaded_at_;
}
std::string AdminServer::version() {
  return SLUICE_VERSION;
}
const Options& AdminServer::options() {
  return server_.options_;
}
unsigned AdminServer::concurrency() {
  return static_cast<unsigned>(server_.workers_.size());
}
config::BootstrapPtr AdminServer::bootstrap() {
  return server_.configuration_.bootstrap.message();
}

envoy::config::core::v3::Node AdminServer::node() {
  return xds::make_node(server_.configuration_.bootstrap.node(), server_.registry_, SLUICE_VERSION);
}

std::vector<admin::ListenerStatus> AdminServer::listeners() {
  std::vector<admin::ListenerStatus> all;
  if (!server_.listeners_) return all;
  for (const ListenerManager::Version* v : server_.listeners_->active_versions()) {
    const auto& l = v->listener;
    admin::ListenerStatus s{*l->name, {}};
    for (const SocketGroup& g : v->sockets) s.addresses.push_back(g.bound);
    if (s.addresses.empty()) {  // virtual, or open in workloads' namespaces only
      s.addresses.push_back(l->address);
      s.addresses.insert(s.addresses.end(), l->additional_addresses.begin(), l->additional_addresses.end());
    }
    all.push_back(std::move(s));
  }
  return all;
}

namespace {

// Of a listener or a cluster.
template <typename Resource>
std::vector<std::string> waits_for(const Resource& resource) {
  std::vector<std::string> out;
  for (const auto& need : resource.needs)
    if (!need->ready()) out.push_back(need->what());
  return out;
}

}  // namespace

namespace {

using envoy::config::cluster::v3::Cluster;

admin::DiscoveredResource::State cluster_state(const xds::Cds::Config& config) {
  auto message = std::make_shared<Cluster>();
  if (!message->ParseFromString(config.bytes)) return {};  // it was parsed when it came: cannot be
  return {config.version, config.at, std::move(message)};
}

void add_clusters(const xds::Cds& cds, admin::Discovered& out) {
  out.clusters_version = cds.version();
  std::map<std::string_view, const xds::Cds::Dynamic*> sorted;
  for (const auto& [name, c] : cds.clusters()) sorted.emplace(name, &c);
  for (const auto& [name, dynamic] : sorted) {
    const xds::Cds::Dynamic& c = *dynamic;
    admin::DiscoveredResource& r = out.clusters.emplace_back();
    r.name = name;
    if (c.active) r.active = cluster_state(*c.active);
    if (c.warming) r.warming = cluster_state(*c.warming);
    if (!c.failure) continue;
    r.refused = cluster_state(c.failure->config);
    r.why_refused = c.failure->details;
  }
}

}  // namespace

namespace {

using Secret = envoy::extensions::transport_sockets::tls::v3::Secret;

// As Envoy shows it: what files hold instead of their names. What is secret is hidden when it is printed, here it is not
// even filled in.
std::shared_ptr<const Secret> shown(const xds::SecretView& view) {
  if (!view.message) return nullptr;
  auto out = std::make_shared<Secret>(static_cast<const Secret&>(*view.message));
  auto fill = [](auto* source, const std::string& content) {
    if (source->has_filename()) source->set_inline_bytes(content);
  };
  if (view.secret.certificate && out->has_tls_certificate()) {
    auto* c = out->mutable_tls_certificate();
    if (c->has_certificate_chain()) fill(c->mutable_certificate_chain(), view.secret.certificate->chain);
    if (c->has_private_key()) fill(c->mutable_private_key(), "hidden");
  }
  if (view.secret.validation && out->has_validation_context()) {
    auto* v = out->mutable_validation_context();
    if (v->has_trusted_ca()) fill(v->mutable_trusted_ca(), view.secret.validation->trusted_ca);
    if (v->has_crl()) fill(v->mutable_crl(), view.secret.validation->crl);
  }
  return out;
}

}  // namespace

admin::Discovered AdminServer::discovered() {
  using admin::DiscoveredResource;
  admin::Discovered out;
  auto state = [](const ListenerOrigin& o) { return DiscoveredResource::State{o.version, o.at, o.message}; };
  std::map<std::string, DiscoveredResource> listeners;
  if (server_.listeners_) {
    for (const auto& [name, entry] : server_.listeners_->entries()) {
      if (!entry.discovered) continue;
      DiscoveredResource& r = listeners[name];
      if (entry.active.listener) r.active = state(entry.active.origin);
      if (entry.warming.listener) r.warming = state(entry.warming.origin);
      if (!entry.failure) continue;
      r.refused = state(entry.failure->origin);
      r.why_refused = entry.failure->details;
    }
    for (const auto& d : server_.listeners_->draining())
      if (d.version.origin.discovered && d.chains == 0)
        listeners[d.name].draining.push_back(state(d.version.origin));
  }
  for (auto& [name, r] : listeners) {
    r.name = name;
    out.listeners.push_back(std::move(r));
  }
  auto add = [](const std::vector<xds::WatchView>& views, std::vector<DiscoveredResource>& to) {
    for (const auto& v : views) {
      if (!v.bytes && !v.refused_bytes) continue;  // it has not come yet
      DiscoveredResource& r = to.emplace_back();
      r.name = v.name;
      r.active = {v.version, v.at, v.message(v.bytes)};
      r.refused = {v.refused_version, v.refused_at, v.message(v.refused_bytes)};
      r.why_refused = v.refused;
    }
  };
  add(server_.dynamic_->discoveries().route_views(), out.routes);
  add(server_.dynamic_->discoveries().filter_views(), out.filters);
  for (xds::ScopesView& v : server_.dynamic_->discoveries().scopes_views())
    out.scopes.push_back({std::move(v.name), std::move(v.version), v.at, std::move(v.scopes),
                          std::move(v.refused), std::move(v.refused_version), v.refused_at});
  out.listeners_version = server_.dynamic_->listeners_version();
  for (const xds::SecretView& v : server_.dynamic_->secrets().view())
    out.secrets.push_back({v.name, v.version, v.at, shown(v), v.refused, v.refused_version, v.refused_at});
  if (const xds::Cds* cds = server_.dynamic_->cds()) add_clusters(*cds, out);
  return out;
}

namespace {

std::vector<std::string> hosts_waited_for(const model::Cluster& cluster) {
  using Type = model::ClusterType;
  std::vector<std::string> out;
  if (cluster.type == Type::eds) out.push_back("endpoints (eds)");
  if (cluster.type == Type::strict_dns || cluster.type == Type::logical_dns) out.push_back("addresses (dns)");
  if (cluster.health_check) out.push_back("the first health checks");
  return out;
}

}  // namespace

std::vector<admin::Waiting> AdminServer::waiting() {
  std::vector<admin::Waiting> out;
  if (server_.listeners_)
    for (const auto& [name, entry] : server_.listeners_->entries())
      if (entry.warming.listener) out.push_back({"listener", name, waits_for(*entry.warming.listener)});
  if (server_.clusters_)
    for (const model::Cluster* cluster : server_.clusters_->warming()) {
      admin::Waiting& w = out.emplace_back("cluster", cluster->name, hosts_waited_for(*cluster));
      std::ranges::move(waits_for(*cluster), std::back_inserter(w.waits_for));
    }
  auto add = [&](const char* kind, const std::string& name, const std::string& refused) {
    out.push_back({kind, name, {refused.empty() ? "an answer of its source" : "a good one: " + refused}});
  };
  for (const xds::SecretView& v : server_.dynamic_->secrets().view())
    if (!v.message) add("secret", v.name, v.refused);
  for (const xds::WatchView& v : server_.dynamic_->discoveries().route_views())
    if (!v.bytes) add("route", v.name, v.refused);
  for (const xds::WatchView& v : server_.dynamic_->discoveries().filter_views())
    if (!v.bytes) add("filter", v.name, v.refused);
  for (const xds::PlaneView& v : server_.dynamic_->lost_planes())
    out.push_back({"control plane", v.cluster, {v.why.empty() ? "an answer" : "a connection: " + v.why}});
  return out;
}

WallTime AdminServer::now() {
  return server_.loop_->wall_now();
}

namespace {

void add_certificate(bool ca, const std::string& path,
                     const Result<std::vector<tls::CertificateSummary>>& said,
                     std::vector<admin::CertificateStatus>& out) {
  if (!said.ok()) return;
  const tls::CertificateSummary& first = said->front();
  out.push_back({ca, path, first.serial, first.dns_sans, first.uri_sans, first.ip_sans, first.not_before,
                 first.not_after});
}

void add_certificates(const config::Secret& secret, const std::string& chain_path,
                      std::vector<admin::CertificateStatus>& out) {
  if (secret.certificate) add_certificate(false, chain_path, tls::summarize(*secret.certificate), out);
  if (secret.validation && !secret.validation->trusted_ca.empty())
    add_certificate(true, secret.validation->ca_name, tls::summarize(secret.validation->trusted_ca), out);
}

}  // namespace

std::vector<admin::CertificateStatus> AdminServer::certificates() {
  std::vector<admin::CertificateStatus> out;
  const xds::Secrets& secrets = server_.dynamic_->secrets();
  const config::BootstrapPtr kept = bootstrap();
  for (const auto& s : kept->static_resources().secrets()) {
    if (auto c = secrets.statics().find<tls::Certificate>(s.name()); c && s.has_tls_certificate()) {
      const auto& chain = s.tls_certificate().has_pkcs12() ? s.tls_certificate().pkcs12()
                                                           : s.tls_certificate().certificate_chain();
      add_certificate(false, chain.has_filename() ? chain.filename() : "<inline>", tls::summarize(*c), out);
    } else if (auto v = secrets.statics().find<tls::Validation>(s.name()); v && s.has_validation_context()) {
      config::Secret trust;
      trust.validation = std::move(v);
      add_certificates(trust, "", out);
    }
  }
  for (const tls::InlineSecret::View& v : tls::InlineSecret::all()) {
    config::Secret secret;
    secret.certificate = v.certificate;
    secret.validation = v.validation;
    add_certificates(secret, v.path, out);
  }
  for (const xds::SecretView& v : secrets.view()) add_certificates(v.secret, "<inline>", out);
  if (server_.identities_)
    server_.identities_->for_each_in_use([&](const std::string& source, const config::Secret& secret) {
      add_certificates(secret, source, out);
    });
  return out;
}

void AdminServer::clusters(std::function<void(std::vector<admin::ClusterStatus>)> done) {
  std::vector<admin::ClusterStatus> all;
  auto thresholds = [](const model::CircuitBreaker& b) {
    return admin::ClusterStatus::Thresholds{b.max_connections, b.max_pending_requests, b.max_requests,
                                            b.max_retries};
  };
  for (const upstream::ClusterView& v : server_.clusters_->view()) {
    admin::ClusterStatus c{
        .name = v.config->name,
        .observability_name = v.observability_name,
        .assignment_name = v.config->eds_service_name.empty() ? v.config->name : v.config->eds_service_name,
        .overprovisioning_factor = v.config->overprovisioning_factor,
        .drop_overload = v.config->drop_overload,
        .added_via_api = v.added_via_api,
        .default_priority = thresholds(v.config->circuit_breaker[0]),
        .high_priority = thresholds(v.config->circuit_breaker[1]),
        .hosts = {}};
    if (v.outlier) {
      auto rates = [&](size_t i) {
        return admin::ClusterStatus::SuccessRates{(*v.outlier)[i].average,
                                                  (*v.outlier)[i].ejection_threshold};
      };
      c.outlier = {rates(0), rates(1)};
    }
    for (const upstream::HostView& h : v.hosts) {
      const upstream::Host::Description& d = h.host->description();
      admin::HostStatus s;
      s.address = d.address;
      s.hostname = d.hostname;
      s.cx_active = h.cx_active, s.cx_connect_fail = h.cx_connect_fail, s.cx_total = h.cx_total;
      s.rq_active = h.rq_active, s.rq_error = h.rq_error, s.rq_pending_active = h.rq_pending_active;
      s.rq_success = h.rq_success, s.rq_timeout = h.rq_timeout, s.rq_total = h.rq_total;
      s.healthy = d.health != model::HealthStatus::unhealthy;
      s.degraded = d.health == model::HealthStatus::degraded;
      const upstream::HostMonitor& m = h.host->monitor();
      using Flag = upstream::HostMonitor;
      s.failed_outlier_check = m.has(Flag::failed_outlier_check);
      s.failed_active_check = m.has(Flag::failed_active_check);
      s.degraded_active_check = m.has(Flag::degraded_active_check);
      s.active_check_timeout = m.has(Flag::active_check_timeout);
      s.pending_active_check = m.has(Flag::pending_active_check);
      s.excluded_by_response = m.has(Flag::excluded_by_response);
      s.pending_removal = m.has(Flag::pending_removal);
      s.success_rate = m.success_rate[0].load(std::memory_order_relaxed);
      s.local_origin_success_rate = m.success_rate[1].load(std::memory_order_relaxed);
      s.canary = d.canary;
      s.weight = d.weight;
      s.priority = d.priority;
      if (d.locality) {
        s.region = d.locality->region, s.zone = d.locality->zone, s.sub_zone = d.locality->sub_zone;
        s.locality_weight = d.locality->weight;
      }
      s.health_hostname = d.health_hostname;
      if (d.health_address && d.health_address->is_ip() && *d.health_address != d.address)
        s.health_port = d.health_address->port();
      s.lb_metadata = d.lb_metadata, s.transport_metadata = d.transport_metadata;
      c.hosts.push_back(std::move(s));
    }
    all.push_back(std::move(c));
  }
  done(std::move(all));
}

void AdminServer::fail_health_checks(bool fail) {
  server_.fail_health_checks(fail);
}

void AdminServer::quit() {
  server_.shut_down("/quitquitquit");
}

// https://www.envoyproxy.io/docs/envoy/latest/operations/admin#post--drain_listeners
void AdminServer::drain_listeners(const admin::DrainRequest& request) {
  if (!request.graceful) return server_.stop_accepting(request.inbound_only);
  // Said twice it is one drain, unless more listeners are meant.
  if (const auto& before = server_.graceful_drain_; before && (!before->inbound_only || request.inbound_only))
    return;
  server_.graceful_drain_ = request;
  server_.drain(request.inbound_only);
  server_.drain_timer_.reset();
  if (request.skip_exit) return;
  server_.drain_timer_ = std::make_unique<io::Timer>(
      server_.loop_->timers(),
      [](io::Timer& t) {
        Server& s = *t.owner<Server>();
        s.stop_accepting(s.graceful_drain_->inbound_only);
      },
      &server_);
  server_.drain_timer_->arm(server_.loop_->now() + server_.options_.drain_time);
}

void AdminServer::reopen_logs() {
  server_.access_logs_->reopen();
}

}  // namespace sluice::server
