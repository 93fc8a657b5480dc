#include "server/admin/stat_tags.h"

#include <algorithm>
#include <array>

namespace sluice::admin {
namespace {

bool digit(char c) {
  return c >= '0' && c <= '9';
}

// A tag found in a name: its value, and what of the name goes away with it.
struct Found {
  std::string_view tag, value;
  size_t begin = 0, end = 0;
};

struct Extraction {
  std::string_view name;
  std::vector<Found> found;

  // [begin, end) goes, the value is within it. Of two that overlap the earlier rule wins.
  void take(std::string_view tag, std::string_view value, size_t begin, size_t end) {
    for (const Found& f : found) {
      if (f.tag == tag || (begin < f.end && f.begin < end)) return;
    }
    found.push_back({tag, value, begin, end});
  }
};

// Dot-separated patterns, most specific first as in Envoy: "*" is one part, "$" the part that becomes the
// tag's value,
// "**" at the end one part or more.
struct Pattern {
  std::string_view tag, parts;
};
constexpr std::array kPatterns = {
    Pattern{"envoy.virtual_cluster", "vhost.*.vcluster.$.**"},
    Pattern{"envoy.fault_downstream_cluster", "http.*.fault.$.**"},
    Pattern{"envoy.http_user_agent", "http.*.user_agent.$.**"},
    Pattern{"envoy.ssl_cipher_suite", "cluster.*.ssl.ciphers.$"},
    Pattern{"envoy.tcp_prefix", "tcp.$.**"},
    Pattern{"envoy.udp_prefix", "udp.$.**"},
    Pattern{"envoy.clientssl_prefix", "auth.clientssl.$.**"},
    Pattern{"envoy.ratelimit_prefix", "ratelimit.$.**"},
    Pattern{"envoy.local_network_ratelimit_prefix", "local_rate_limit.$.**"},
    Pattern{"envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"},
    Pattern{"envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit.**"},
    Pattern{"envoy.dns_filter_prefix", "dns_filter.$.**"},
    Pattern{"envoy.connection_limit_prefix", "connection_limit.$.**"},
    Pattern{"envoy.rbac_prefix", "$.rbac.**"},
    Pattern{"envoy.cluster_name", "cluster.$.**"},
};
// These come after worker ids and the listeners' HTTP prefix.
constexpr std::array kLatePatterns = {
    Pattern{"envoy.http_conn_manager_prefix", "http.$.**"},
    Pattern{"envoy.rds_route_config", "http.*.rds.$.**"},
    Pattern{"envoy.virtual_host", "vhost.$.**"},
};

void match(const Pattern& p, Extraction& x) {
  std::string_view parts = p.parts, value;
  size_t at = 0, begin = 0;
  bool more = true;  // the name goes on
  while (!parts.empty()) {
    std::string_view part = parts.substr(0, parts.find('.'));
    parts.remove_prefix(std::min(part.size() + 1, parts.size()));
    if (!more) return;
    if (part == "**") {
      at = x.name.size();
      more = false;
      break;
    }
    size_t dot = x.name.find('.', at);
    std::string_view here = x.name.substr(at, dot == x.name.npos ? dot : dot - at);
    if (part == "$") {
      if (here.empty()) return;
      value = here;
      begin = at;
    } else if (part != "*" && part != here) {
      return;
    }
    more = dot != x.name.npos;
    at = more ? dot + 1 : x.name.size();
  }
  if (more) return;
  size_t end = begin + value.size();
  // The dot after the value goes with it, or the one before it at the end.
  end < x.name.size() ? ++end : --begin;
  x.take(p.tag, value, begin, end);
}

// "_rq_200" and "_rq_2xx" at the end.
void match_response_code(Extraction& x) {
  const std::string_view n = x.name;
  if (n.size() < 8 || n.substr(n.size() - 7, 4) != "_rq_") return;
  std::string_view code = n.substr(n.size() - 3);
  if (!digit(code[0])) return;
  if (digit(code[1]) && digit(code[2])) x.take("envoy.response_code", code, n.size() - 4, n.size());
  if (code.substr(1) == "xx")
    x.take("envoy.response_code_class", code.substr(0, 1), n.size() - 3, n.size() - 2);
}

// Where the part after "listener." ends: an address such as "127.0.0.1_80" has dots of its own.
size_t listener_address_end(std::string_view name) {
  constexpr size_t kStart = 9;
  if (!name.starts_with("listener.")) return 0;
  size_t i = kStart;
  while (i < name.size() && (digit(name[i]) || name[i] == '.' || name[i] == '_')) ++i;
  // Back to the dot before the statistic: "127.0.0.1_80.downstream": the run ends just behind it.
  if (i > kStart && name[i - 1] == '.') return i - 1;
  size_t dot = name.find('.', kStart);
  return dot == name.npos ? 0 : dot;
}

// "<prefix>worker_3." → "worker."
void match_worker(std::string_view name, size_t at, Extraction& x) {
  constexpr std::string_view kWorker = "worker_";
  if (name.substr(at, kWorker.size()) != kWorker) return;
  size_t digits = at + kWorker.size(), end = digits;
  while (end < name.size() && digit(name[end])) ++end;
  if (end == digits || end >= name.size() || name[end] != '.') return;
  x.take("envoy.worker_id", name.substr(digits, end - digits), digits - 1, end);
}

// "proxy_proto.[<prefix>.][versions.v<version>.]<statistic>".
void match_proxy_protocol(Extraction& x) {
  constexpr std::string_view kStart = "proxy_proto.", kVersions = "versions.v";
  if (!x.name.starts_with(kStart)) return;
  size_t at = kStart.size();
  const size_t dot = x.name.find('.', at);
  if (dot == x.name.npos) return;
  if (x.name.substr(at, kVersions.size()) != kVersions) {
    x.take("envoy.proxy_protocol_prefix", x.name.substr(at, dot - at), at, dot + 1);
    at = dot + 1;
  }
  if (x.name.substr(at, kVersions.size()) != kVersions) return;
  const size_t begin = at + kVersions.size(), end = x.name.find('.', begin);
  if (end != x.name.npos && end != begin)
    x.take("envoy.proxy_protocol_version", x.name.substr(begin, end - begin), at, end + 1);
}

}  // namespace

TaggedName extract_tags(std::string_view name) {
  Extraction x{name, {}};
  match_response_code(x);
  const size_t address_end = listener_address_end(name);
  const bool listener = address_end > 9;
  if (listener && name.substr(address_end).starts_with(".ssl.cipher.")) {
    x.take("envoy.ssl_cipher", name.substr(address_end + 12), address_end + 11, name.size());
  }
  for (const Pattern& p : kPatterns) match(p, x);
  match_proxy_protocol(x);
  if (name.starts_with("listener.")) {
    if (size_t http = name.find(".http.", 9); http != name.npos) {
      size_t begin = http + 6, dot = name.find('.', begin);
      if (dot != name.npos)
        x.take("envoy.http_conn_manager_prefix", name.substr(begin, dot - begin), begin, dot + 1);
    }
    if (listener) match_worker(name, address_end + 1, x);
  }
  match_worker(name,
               name.starts_with("listener_manager.") ? 17
               : name.starts_with("server.")         ? 7
                                                     : name.size(),
               x);
  if (listener) {
    std::string_view address = name.substr(9, address_end - 9);
    if (address != "admin") x.take("envoy.listener_address", address, 9, address_end + 1);
  }
  for (const Pattern& p : kLatePatterns) match(p, x);

  TaggedName out;
  for (const Found& f : x.found) out.tags.emplace_back(f.tag, f.value);
  std::sort(x.found.begin(), x.found.end(), [](const Found& a, const Found& b) { return a.begin < b.begin; });
  size_t at = 0;
  for (const Found& f : x.found) {
    out.name += name.substr(at, f.begin - at);
    at = f.end;
  }
  out.name += name.substr(at);
  return out;
}

}  // namespace sluice::admin
