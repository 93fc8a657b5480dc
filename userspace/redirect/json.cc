#include "redirect/json.h"

#include <cerrno>

#include "core/spiffe.h"

namespace sluice::redirect {
namespace {

constexpr size_t kNameMax = 200;  // a file name with room for escapes

Json ports_json(const std::vector<uint16_t>& ports) {
  Json a = Json::array();
  for (uint16_t p : ports) a.push(static_cast<unsigned>(p));
  return a;
}

Json cidrs_json(const std::vector<Cidr>& cidrs) {
  Json a = Json::array();
  for (const Cidr& c : cidrs) a.push(c.to_string());
  return a;
}

Error wrong(const std::string& field, const char* want) {
  return Error{field + ": must be " + want, EINVAL};
}

Result<uint16_t> port_from(const Json& v, const std::string& field) {
  int64_t p = v.as_int(-1);
  if (v.type() != Json::Type::integer || p < 1 || p > 65535) return wrong(field, "a port (1..65535)");
  return static_cast<uint16_t>(p);
}

Status read_ports(const Json& v, const std::string& field, std::vector<uint16_t>& out) {
  if (!v.is_array()) return wrong(field, "a list of ports");
  for (const Json& item : v.items()) {
    SLUICE_ASSIGN(uint16_t port, port_from(item, field));
    out.push_back(port);
  }
  return {};
}

Status read_cidrs(const Json& v, const std::string& field, std::vector<Cidr>& out) {
  if (!v.is_array()) return wrong(field, "a list of prefixes such as \"10.0.0.0/8\"");
  for (const Json& item : v.items()) {
    auto cidr = Cidr::parse(item.as_string());
    if (!cidr.ok()) return std::move(cidr).error().prefixed(field);
    out.push_back(*cidr);
  }
  return {};
}

Status read_uids(const Json& v, const std::string& field, std::vector<uint32_t>& out) {
  if (!v.is_array()) return wrong(field, "a list of numeric user ids");
  for (const Json& item : v.items()) {
    int64_t uid = item.as_int(-1);
    if (uid < 0 || uid > UINT32_MAX) return wrong(field, "a list of numeric user ids");
    out.push_back(static_cast<uint32_t>(uid));
  }
  return {};
}

Status read_bool(const Json& v, const std::string& field, bool& out) {
  if (v.type() != Json::Type::boolean) return wrong(field, "true or false");
  out = v.as_bool();
  return {};
}

constexpr struct {
  SecretSource::Kind kind;
  const char* name;
} kSources[] = {{SecretSource::Kind::files, "files"},
                {SecretSource::Kind::sds, "sds"},
                {SecretSource::Kind::development_ca, "development_ca"}};

Status read_secrets(const Json& v, const std::string& field, SecretSource& out) {
  if (v.is_object() && v.members().size() == 1)
    for (const auto& source : kSources)
      if (const Json& path = v[source.name]; path.is_string()) {
        out = {source.kind, path.as_string()};
        return {};
      }
  return wrong(field, "one of {\"files\": DIR}, {\"sds\": SOCKET}, {\"development_ca\": DIR}");
}

Status read_member(const std::string& k, const Json& v, WorkloadSpec& s) {
  if (k == "name" || k == "netns") {
    if (!v.is_string()) return wrong(k, "a string");
    (k == "name" ? s.name : s.netns_path) = v.as_string();
    return {};
  }
  if (k == "identity") {
    if (!v.is_string()) return wrong(k, "a SPIFFE ID");
    s.identity = v.as_string();
    return {};
  }
  if (k == "secrets") return read_secrets(v, k, s.secrets);
  if (k == "fail_mode") {
    auto mode = parse_fail_mode(v.as_string());
    if (!mode.ok()) return std::move(mode).error().prefixed(k);
    s.fail_mode = *mode;
    return {};
  }
  if (k == "outbound") return read_bool(v, k, s.outbound);
  if (k == "inbound") return read_bool(v, k, s.inbound);
  if (k == "outbound_port" || k == "inbound_port") {
    SLUICE_ASSIGN((k == "outbound_port" ? s.outbound_port : s.inbound_port), port_from(v, k));
    return {};
  }
  if (k == "exclude_outbound_ports") return read_ports(v, k, s.exclude_outbound_ports);
  if (k == "include_outbound_ports") return read_ports(v, k, s.include_outbound_ports);
  if (k == "exclude_inbound_ports") return read_ports(v, k, s.exclude_inbound_ports);
  if (k == "include_inbound_ports") return read_ports(v, k, s.include_inbound_ports);
  if (k == "exclude_cidrs") return read_cidrs(v, k, s.exclude_cidrs);
  if (k == "include_cidrs") return read_cidrs(v, k, s.include_cidrs);
  if (k == "probe_sources") return read_cidrs(v, k, s.probe_sources);
  if (k == "exclude_uids") return read_uids(v, k, s.exclude_uids);
  return Error{k + ": unknown member", EINVAL};
}

}  // namespace

Json to_json(const WorkloadSpec& s) {
  Json j = Json::object();
  j.set("name", s.name).set("netns", s.netns_path).set("fail_mode", to_string(s.fail_mode));
  if (!s.identity.empty()) j.set("identity", s.identity);
  for (const auto& source : kSources)
    if (source.kind == s.secrets.kind) j.set("secrets", Json::object().set(source.name, s.secrets.path));
  j.set("outbound", s.outbound).set("inbound", s.inbound);
  if (s.outbound_port) j.set("outbound_port", static_cast<unsigned>(s.outbound_port));
  if (s.inbound_port) j.set("inbound_port", static_cast<unsigned>(s.inbound_port));
  auto ports = [&j](const char* k, const std::vector<uint16_t>& v) {
    if (!v.empty()) j.set(k, ports_json(v));
  };
  auto cidrs = [&j](const char* k, const std::vector<Cidr>& v) {
    if (!v.empty()) j.set(k, cidrs_json(v));
  };
  ports("exclude_outbound_ports", s.exclude_outbound_ports);
  ports("include_outbound_ports", s.include_outbound_ports);
  cidrs("exclude_cidrs", s.exclude_cidrs);
  cidrs("include_cidrs", s.include_cidrs);
  if (!s.exclude_uids.empty()) {
    Json a = Json::array();
    for (uint32_t uid : s.exclude_uids) a.push(uid);
    j.set("exclude_uids", std::move(a));
  }
  ports("exclude_inbound_ports", s.exclude_inbound_ports);
  ports("include_inbound_ports", s.include_inbound_ports);
  cidrs("probe_sources", s.probe_sources);
  return j;
}

Result<WorkloadSpec> spec_from_json(const Json& json) {
  if (!json.is_object()) return Error{"a workload must be a JSON object", EINVAL};
  WorkloadSpec s;
  for (const auto& [k, v] : json.members()) SLUICE_TRY(read_member(k, v, s));
  SLUICE_TRY(validate(s));
  return s;
}

Status validate(const WorkloadSpec& s) {
  if (s.name.empty() || s.name.size() > kNameMax) return Error{"name: must have 1 to 200 characters", EINVAL};
  for (char c : s.name) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              std::string_view("._/-").find(c) != std::string_view::npos;
    if (!ok) return Error{"name: \"" + s.name + "\" may hold letters, digits and . _ / - only", EINVAL};
  }
  if (s.name[0] == '.') return Error{"name: must not begin with a dot", EINVAL};
  if (s.name.find_first_not_of("0123456789") == std::string::npos)
    return Error{"name: must not be a number (that would be a netns cookie)", EINVAL};
  if (s.netns_path.empty())
    return Error{"netns: is required, as /run/netns/NAME or /proc/PID/ns/net", EINVAL};
  const bool own = s.secrets.kind != SecretSource::Kind::configured;
  if (own != !s.identity.empty())
    return Error{own ? "identity: is required where secrets are the workload's own, as "
                       "spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT"
                     : "secrets: an identity needs a source of its certificate: files, sds or development_ca",
                 EINVAL};
  if (own) {
    if (Status id = check_spiffe_id(s.identity); !id.ok()) return std::move(id).error().prefixed("identity");
    if (!s.secrets.path.starts_with('/'))
      return Error{"secrets: \"" + s.secrets.path + "\" is no absolute path", EINVAL};
  }
  if (!s.outbound && !s.inbound) return Error{"outbound, inbound: at least one must be true", EINVAL};
  if (s.outbound_port && s.outbound_port == s.inbound_port)
    return Error{"outbound_port, inbound_port: must differ", EINVAL};
  return {};
}

const char* to_string(FailMode mode) {
  return mode == FailMode::open ? "open" : "closed";
}

Result<FailMode> parse_fail_mode(std::string_view text) {
  if (text == "closed") return FailMode::closed;
  if (text == "open") return FailMode::open;
  return Error{"\"" + std::string(text) + "\" is not a fail mode; give closed or open", EINVAL};
}

Json workload_to_json(const Workload& w) {
  Json listening = Json::object();
  listening.set("outbound_v4", w.listening_outbound_v4).set("outbound_v6", w.listening_outbound_v6);
  listening.set("inbound_v4", w.listening_inbound_v4).set("inbound_v6", w.listening_inbound_v6);
  Json j = Json::object();
  j.set("id", w.id).set("netns_cookie", w.netns_cookie).set("generation", w.generation);
  j.set("netns_handle", w.netns_handle).set("inbound_attached", w.inbound_attached);
  j.set("return_path", w.return_path);
  j.set("listening", std::move(listening));
  j.set("spec", to_json(w.spec));
  return j;
}

Json redirect_to_json(const Redirect& r) {
  auto text = [](const Address& a) { return a.valid() ? Json(a.to_string()) : Json(); };
  Json j = Json::object();
  j.set("side", to_string(r.side)).set("original_destination", text(r.original.address));
  j.set("v4_mapped", r.original.v4_mapped).set("rule", r.original.rule);
  j.set("local", text(r.local)).set("remote", text(r.remote)).set("target", text(r.target));
  j.set("tcp_state", r.tcp_state.empty() ? Json() : Json(r.tcp_state));
  j.set("netns_cookie", r.original.netns_cookie).set("workload_id", r.original.workload_id);
  j.set("generation", r.original.generation).set("uid", r.original.uid).set("pid", r.original.pid);
  j.set("created_ns", r.original.created_ns);
  return j;
}

}  // namespace sluice::redirect
