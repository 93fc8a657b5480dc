#include "server/admin/config_dump.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "config/print.h"
#include "config/protos.h"
#include "core/regex.h"
#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "model/subsets.h"

namespace sluice::admin {
namespace {

namespace v3 = envoy::admin::v3;
using google::protobuf::Any;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using MessagePtr = std::unique_ptr<Message>;

Response bad(int status, std::string why) {
  return {status, std::move(why), "text/plain"};
}

// The message in an Any; null if its type is not in this build.
MessagePtr unpack(const Any& any) {
  std::string_view url = any.type_url();
  const auto* type = config::find_message_type(url.substr(url.rfind('/') + 1));
  if (type == nullptr) return nullptr;
  MessagePtr m(config::prototype(*type).New());
  if (!any.UnpackTo(m.get())) return nullptr;
  return m;
}

void set_time(WallTime t, google::protobuf::Timestamp* to) {
  auto ms = std::chrono::floor<std::chrono::milliseconds>(t).time_since_epoch();
  to->set_seconds(std::chrono::floor<std::chrono::seconds>(ms).count());
  to->set_nanos(static_cast<int32_t>((ms % std::chrono::seconds(1)).count() * 1'000'000));
}

void add_metadata(const char* filter, const model::LbMetadata* from,
                  envoy::config::endpoint::v3::LbEndpoint* to) {
  if (from == nullptr) return;
  auto& fields = *(*to->mutable_metadata()->mutable_filter_metadata())[filter].mutable_fields();
  for (const auto& field : from->fields) {
    // It was printed from a Value when it came: it is one.
    (void)google::protobuf::util::JsonStringToMessage(field.value, &fields[field.key]);
  }
}

// What endpoints there are now, in the form in which EDS would have brought them: of metadata what hosts are chosen by.
std::unique_ptr<v3::EndpointsConfigDump> endpoints_dump(const std::vector<ClusterStatus>& clusters) {
  auto dump = std::make_unique<v3::EndpointsConfigDump>();
  for (const ClusterStatus& c : clusters) {
    envoy::config::endpoint::v3::ClusterLoadAssignment assignment;
    assignment.set_cluster_name(c.assignment_name);
    assignment.mutable_policy()->mutable_overprovisioning_factor()->set_value(c.overprovisioning_factor);
    if (c.drop_overload && c.drop_overload->numerator > 0) {
      constexpr uint64_t kMillion = 1'000'000;  // as Envoy, whatever the assignment counts in
      auto* share = assignment.mutable_policy()->add_drop_overloads()->mutable_drop_percentage();
      share->set_denominator(envoy::type::v3::FractionalPercent::MILLION);
      share->set_numerator(
          static_cast<uint32_t>(c.drop_overload->numerator * kMillion / c.drop_overload->denominator));
    }
    std::map<std::tuple<uint32_t, std::string, std::string, std::string>,
             envoy::config::endpoint::v3::LocalityLbEndpoints*>
        groups;
    for (const HostStatus& h : c.hosts) {
      auto*& group = groups[{h.priority, h.region, h.zone, h.sub_zone}];
      if (group == nullptr) {
        group = assignment.add_endpoints();
        group->set_priority(h.priority);
        group->mutable_locality()->set_region(h.region);
        group->mutable_locality()->set_zone(h.zone);
        group->mutable_locality()->set_sub_zone(h.sub_zone);
        group->mutable_load_balancing_weight()->set_value(h.locality_weight);
      }
      auto* endpoint = group->add_lb_endpoints();
      auto* address = endpoint->mutable_endpoint()->mutable_address();
      if (h.address.is_ip()) {
        address->mutable_socket_address()->set_address(h.address.ip().to_string());
        address->mutable_socket_address()->set_port_value(h.address.port());
      } else {
        address->mutable_pipe()->set_path(h.address.path());
      }
      endpoint->mutable_endpoint()->set_hostname(h.hostname);
      auto* check = endpoint->mutable_endpoint()->mutable_health_check_config();
      check->set_hostname(h.health_hostname);
      check->set_port_value(h.health_port);
      add_metadata("envoy.lb", h.lb_metadata.get(), endpoint);
      add_metadata("envoy.transport_socket_match", h.transport_metadata.get(), endpoint);
      using namespace envoy::config::core::v3;
      const bool fails = !h.healthy || h.failed_active_check || h.failed_outlier_check;
      endpoint->set_health_status(fails                                   ? UNHEALTHY
                                  : h.degraded || h.degraded_active_check ? DEGRADED
                                                                          : HEALTHY);
      endpoint->mutable_load_balancing_weight()->set_value(h.weight);
    }
    if (c.added_via_api)
      dump->add_dynamic_endpoint_configs()->mutable_endpoint_config()->PackFrom(assignment);
    else
      dump->add_static_endpoint_configs()->mutable_endpoint_config()->PackFrom(assignment);
  }
  return dump;
}

using State = DiscoveredResource::State;

// DynamicListener and DynamicCluster states have the same fields under other names.
template <typename To>
void set_state(const State& from, To* to, Any* resource) {
  to->set_version_info(from.version);
  resource->PackFrom(*from.message);
  set_time(from.at, to->mutable_last_updated());
}

template <typename Entry>
void set_error(const DiscoveredResource& r, Entry* entry) {
  if (!r.refused.message) return;
  v3::UpdateFailureState* error = entry->mutable_error_state();
  error->mutable_failed_configuration()->PackFrom(*r.refused.message);
  set_time(r.refused.at, error->mutable_last_update_attempt());
  error->set_details(r.why_refused);
  error->set_version_info(r.refused.version);
}

void add_listeners(const Discovered& discovered, v3::ListenersConfigDump& dump) {
  dump.set_version_info(discovered.listeners_version);
  for (const DiscoveredResource& r : discovered.listeners) {
    auto* entry = dump.add_dynamic_listeners();
    entry->set_name(r.name);
    auto set = [](const State& from, v3::ListenersConfigDump::DynamicListenerState* to) {
      set_state(from, to, to->mutable_listener());
    };
    if (r.active.message) set(r.active, entry->mutable_active_state());
    if (r.warming.message) set(r.warming, entry->mutable_warming_state());
    if (!r.draining.empty()) set(r.draining.back(), entry->mutable_draining_state());
    set_error(r, entry);
  }
}

void add_clusters(const Discovered& discovered, v3::ClustersConfigDump& dump) {
  dump.set_version_info(discovered.clusters_version);
  for (const DiscoveredResource& r : discovered.clusters) {
    auto set = [&](const State& from, v3::ClustersConfigDump::DynamicCluster* to) {
      set_state(from, to, to->mutable_cluster());
      set_error(r, to);
    };
    if (r.active.message) set(r.active, dump.add_dynamic_active_clusters());
    if (r.warming.message) set(r.warming, dump.add_dynamic_warming_clusters());
    if (r.active.message || r.warming.message || !r.refused.message) continue;
    set_error(r, dump.add_dynamic_warming_clusters());
  }
}

using Manager = envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

template <typename Each>
void for_each_manager(const envoy::config::listener::v3::Listener& listener, Each each) {
  auto chain = [&](const envoy::config::listener::v3::FilterChain& c) {
    for (const auto& filter : c.filters()) {
      if (!filter.typed_config().Is<Manager>()) continue;
      Manager manager;
      if (filter.typed_config().UnpackTo(&manager)) each(manager);
    }
  };
  for (const auto& c : listener.filter_chains()) chain(c);
  if (listener.has_default_filter_chain()) chain(listener.default_filter_chain());
}

// Of every listener that serves: static ones since `loaded_at`.
template <typename Each>
void for_each_manager(const envoy::config::bootstrap::v3::Bootstrap& bootstrap, const Discovered& discovered,
                      WallTime loaded_at, Each each) {
  auto since = [&](WallTime at) { return [&each, at](const Manager& m) { each(m, at); }; };
  for (const auto& l : bootstrap.static_resources().listeners()) for_each_manager(l, since(loaded_at));
  for (const DiscoveredResource& r : discovered.listeners) {
    if (!r.active.message) continue;
    for_each_manager(static_cast<const envoy::config::listener::v3::Listener&>(*r.active.message),
                     since(r.active.at));
  }
}

std::unique_ptr<v3::RoutesConfigDump> routes_dump(const envoy::config::bootstrap::v3::Bootstrap& bootstrap,
                                                  const Discovered& discovered, WallTime loaded_at) {
  auto dump = std::make_unique<v3::RoutesConfigDump>();
  for_each_manager(bootstrap, discovered, loaded_at, [&](const Manager& manager, WallTime at) {
    if (!manager.has_route_config()) return;
    auto* entry = dump->add_static_route_configs();
    entry->mutable_route_config()->PackFrom(manager.route_config());
    set_time(at, entry->mutable_last_updated());
  });
  for (const DiscoveredResource& r : discovered.routes) {
    auto* entry = dump->add_dynamic_route_configs();
    if (r.active.message) set_state(r.active, entry, entry->mutable_route_config());
    set_error(r, entry);
  }
  return dump;
}

// Nothing: no connection manager has scoped routes. Envoy shows an empty one then.
std::unique_ptr<v3::ScopedRoutesConfigDump> scopes_dump(
    const envoy::config::bootstrap::v3::Bootstrap& bootstrap, const Discovered& discovered,
    WallTime loaded_at) {
  auto dump = std::make_unique<v3::ScopedRoutesConfigDump>();
  bool any = false;
  for_each_manager(bootstrap, discovered, loaded_at, [&](const Manager& manager, WallTime at) {
    any |= manager.has_scoped_routes();
    if (!manager.scoped_routes().has_scoped_route_configurations_list()) return;
    auto* entry = dump->add_inline_scoped_route_configs();
    entry->set_name(manager.scoped_routes().name());
    for (const auto& scope :
         manager.scoped_routes().scoped_route_configurations_list().scoped_route_configurations())
      entry->add_scoped_route_configs()->PackFrom(scope);
    set_time(at, entry->mutable_last_updated());
  });
  for (const DiscoveredScopes& s : discovered.scopes) {
    auto* entry = dump->add_dynamic_scoped_route_configs();
    entry->set_name(s.name);
    if (s.at != WallTime()) {
      entry->set_version_info(s.version);
      set_time(s.at, entry->mutable_last_updated());
    }
    for (const auto& [name, message] : s.scopes) entry->add_scoped_route_configs()->PackFrom(*message);
    if (s.why_refused.empty()) continue;
    v3::UpdateFailureState* error = entry->mutable_error_state();
    set_time(s.refused_at, error->mutable_last_update_attempt());
    error->set_details(s.why_refused);
    error->set_version_info(s.refused_version);
  }
  return any || !discovered.scopes.empty() ? std::move(dump) : nullptr;
}

std::unique_ptr<v3::EcdsConfigDump> filters_dump(const Discovered& discovered) {
  auto dump = std::make_unique<v3::EcdsConfigDump>();
  for (const DiscoveredResource& r : discovered.filters) {
    auto* entry = dump->add_ecds_filters();
    if (r.active.message) set_state(r.active, entry, entry->mutable_ecds_filter());
    set_error(r, entry);
  }
  return dump;
}

// Private keys, passwords and ticket keys are hidden where the dump is printed.
std::unique_ptr<v3::SecretsConfigDump> secrets_dump(const envoy::config::bootstrap::v3::Bootstrap& bootstrap,
                                                    const Discovered& discovered) {
  auto dump = std::make_unique<v3::SecretsConfigDump>();
  for (const auto& secret : bootstrap.static_resources().secrets()) {
    auto* entry = dump->add_static_secrets();
    entry->set_name(secret.name());
    entry->mutable_secret()->PackFrom(secret);
  }
  for (const DiscoveredSecret& s : discovered.secrets) {
    auto* entry = s.message ? dump->add_dynamic_active_secrets() : dump->add_dynamic_warming_secrets();
    entry->set_name(s.name);
    entry->set_version_info(s.version);
    set_time(s.at, entry->mutable_last_updated());
    if (s.message) {
      entry->mutable_secret()->PackFrom(*s.message);
    } else {
      envoy::extensions::transport_sockets::tls::v3::Secret nothing;
      nothing.set_name(s.name);
      entry->mutable_secret()->PackFrom(nothing);
    }
    if (s.why_refused.empty()) continue;
    v3::UpdateFailureState* error = entry->mutable_error_state();  // without the secret, which may be a key
    set_time(s.refused_at, error->mutable_last_update_attempt());
    error->set_details(s.why_refused);
    error->set_version_info(s.refused_version);
  }
  return dump;
}

// In Envoy's order.
std::vector<MessagePtr> all_dumps(View& view, const std::vector<ClusterStatus>* hosts) {
  std::vector<MessagePtr> out;
  auto bootstrap = view.bootstrap();
  auto b = std::make_unique<v3::BootstrapConfigDump>();
  *b->mutable_bootstrap() = *bootstrap;
  *b->mutable_bootstrap()->mutable_node() = view.node();
  set_time(view.config_loaded_at(), b->mutable_last_updated());
  out.push_back(std::move(b));

  const Discovered discovered = view.discovered();
  auto clusters = std::make_unique<v3::ClustersConfigDump>();
  for (const auto& c : bootstrap->static_resources().clusters()) {
    auto* entry = clusters->add_static_clusters();
    entry->mutable_cluster()->PackFrom(c);
    set_time(view.config_loaded_at(), entry->mutable_last_updated());
  }
  add_clusters(discovered, *clusters);
  out.push_back(std::move(clusters));
  if (!discovered.filters.empty()) out.push_back(filters_dump(discovered));
  if (hosts) out.push_back(endpoints_dump(*hosts));

  auto listeners = std::make_unique<v3::ListenersConfigDump>();
  for (const auto& l : bootstrap->static_resources().listeners()) {
    auto* entry = listeners->add_static_listeners();
    entry->mutable_listener()->PackFrom(l);
    set_time(view.config_loaded_at(), entry->mutable_last_updated());
  }
  add_listeners(discovered, *listeners);
  out.push_back(std::move(listeners));
  if (auto scopes = scopes_dump(*bootstrap, discovered, view.config_loaded_at()))
    out.push_back(std::move(scopes));
  auto routes = routes_dump(*bootstrap, discovered, view.config_loaded_at());
  if (routes->static_route_configs_size() + routes->dynamic_route_configs_size() > 0)
    out.push_back(std::move(routes));
  out.push_back(secrets_dump(*bootstrap, discovered));
  return out;
}

// The name of one entry of a dump: its own, or that of the resource which it wraps.
std::string name_of(const Message& entry) {
  const auto* type = entry.GetDescriptor();
  for (const char* field : {"name", "cluster_name"}) {
    if (const auto* f = type->FindFieldByName(field);
        f && f->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !f->is_repeated())
      return entry.GetReflection()->GetString(entry, f);
  }
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* f = type->field(i);
    if (f->is_repeated() || f->message_type() != Any::descriptor() ||
        !entry.GetReflection()->HasField(entry, f))
      continue;
    MessagePtr inner = unpack(static_cast<const Any&>(entry.GetReflection()->GetMessage(entry, f)));
    if (inner) return name_of(*inner);
  }
  return "";
}

// Takes entries out of repeated fields whose name does not match.
void keep_names(const Regex& names, Message& dump) {
  const auto* type = dump.GetDescriptor();
  const auto* reflection = dump.GetReflection();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* f = type->field(i);
    if (!f->is_repeated() || f->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    int kept = 0;
    for (int k = 0; k < reflection->FieldSize(dump, f); ++k) {
      if (!names.full_match(name_of(reflection->GetRepeatedMessage(dump, f, k)))) continue;
      if (k != kept) reflection->SwapElements(&dump, f, k, kept);
      ++kept;
    }
    while (reflection->FieldSize(dump, f) > kept) reflection->RemoveLast(&dump, f);
  }
}

std::vector<std::string> mask_paths(std::string_view mask) {
  std::vector<std::string> out;
  while (!mask.empty()) {
    std::string_view one = mask.substr(0, mask.find(','));
    mask.remove_prefix(std::min(one.size() + 1, mask.size()));
    if (!one.empty()) out.emplace_back(one);
  }
  return out;
}

struct Query {
  std::string resource;
  std::string mask_text;
  std::vector<std::string> mask;
  std::optional<Regex> names;  // nothing: all
};

Response make_dump(const Query& q, std::vector<MessagePtr> dumps) {
  v3::ConfigDump out;
  bool found = q.resource.empty(), masked = false;
  for (MessagePtr& dump : dumps) {
    if (q.names) keep_names(*q.names, *dump);
    if (q.resource.empty()) {
      // A mask for one kind of dump says nothing about the others: Envoy leaves those out.
      if (!q.mask.empty() && !apply_mask(q.mask, *dump)) continue;
      masked = true;
      out.add_configs()->PackFrom(*dump);
      continue;
    }
    const auto* f = dump->GetDescriptor()->FindFieldByName(q.resource);
    if (f == nullptr) continue;
    if (!f->is_repeated())
      return bad(
          400, q.resource + " is not a repeated field. Use ?mask=" + q.resource + " to get only this field");
    found = true;
    for (int i = 0; i < dump->GetReflection()->FieldSize(*dump, f); ++i) {
      Message* entry = dump->GetReflection()->MutableRepeatedMessage(dump.get(), f, i);
      if (!q.mask.empty() && !apply_mask(q.mask, *entry))
        return bad(400, "the field mask could not be successfully used.");
      out.add_configs()->PackFrom(*entry);
    }
  }
  if (q.resource.empty() && !masked)
    return bad(400, "FieldMask " + q.mask_text + " could not be successfully applied to any configs.");
  if (!found) return bad(404, q.resource + " not found in config dump");
  std::string body = config::to_json(out);
  if (!body.ends_with('\n')) body += '\n';
  return Response::json(std::move(body));
}

}  // namespace

bool apply_mask(const std::vector<std::string>& paths, Message& message) {
  std::map<std::string, std::vector<std::string>, std::less<>> wanted;  // field → what of it; empty: all
  for (const std::string& path : paths) {
    size_t dot = path.find('.');
    auto& rest = wanted[path.substr(0, dot)];
    if (dot != path.npos) rest.push_back(path.substr(dot + 1));
  }
  const auto* type = message.GetDescriptor();
  const auto* reflection = message.GetReflection();
  for (const auto& [name, rest] : wanted) {
    const auto* f = type->FindFieldByName(name);
    if (f == nullptr || (!rest.empty() && (f->is_repeated() || f->message_type() == nullptr))) return false;
  }
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* f = type->field(i);
    auto it = wanted.find(f->name());
    if (it == wanted.end()) {
      reflection->ClearField(&message, f);
      continue;
    }
    if (it->second.empty() || !reflection->HasField(message, f)) continue;
    Message* inner = reflection->MutableMessage(&message, f);
    if (f->message_type() != Any::descriptor()) {
      if (!apply_mask(it->second, *inner)) return false;
      continue;
    }
    MessagePtr unpacked = unpack(static_cast<const Any&>(*inner));
    if (!unpacked || !apply_mask(it->second, *unpacked)) return false;
    static_cast<Any*>(inner)->PackFrom(*unpacked);
  }
  return true;
}

void config_dump(const Request& request, Reply reply, View& view) {
  Query q{std::string(request.get("resource")),
          std::string(request.get("mask")),
          mask_paths(request.get("mask")),
          {}};
  if (std::string regex(request.get("name_regex")); !regex.empty()) {
    auto names = Regex::compile(regex);
    if (!names.ok())
      return reply.send(
          bad(400, "Error while parsing name_regex from " + regex + ": " + names.error().message));
    q.names = std::move(names).value();
  }
  if (!request.has("include_eds")) return reply.send(make_dump(q, all_dumps(view, nullptr)));
  auto shared = std::make_shared<Reply>(std::move(reply));  // std::function copies
  view.clusters([shared, q, &view](std::vector<ClusterStatus> hosts) {
    shared->send(make_dump(q, all_dumps(view, &hosts)));
  });
}

}  // namespace sluice::admin
