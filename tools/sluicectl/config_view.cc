#include "config_view.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace sluice::ctl {
namespace {

// The lists of the dumps: which field holds what, in which state.
struct List {
  const char* field;
  const char* kind;
  const char* state;
  const char* resource;
};
constexpr List kLists[] = {
    {"static_listeners", "listener", "static", "listener"},
    {"static_clusters", "cluster", "static", "cluster"},
    {"dynamic_active_clusters", "cluster", "active", "cluster"},
    {"dynamic_warming_clusters", "cluster", "warming", "cluster"},
    {"static_route_configs", "route", "static", "route_config"},
    {"dynamic_route_configs", "route", "active", "route_config"},
    {"ecds_filters", "filter", "active", "ecds_filter"},
    {"static_secrets", "secret", "static", "secret"},
    {"dynamic_active_secrets", "secret", "active", "secret"},
    {"dynamic_warming_secrets", "secret", "warming", "secret"},
    {"static_endpoint_configs", "endpoints", "static", "endpoint_config"},
    {"dynamic_endpoint_configs", "endpoints", "active", "endpoint_config"},
};

std::string name_of(const Json& resource) {
  const std::string& name = resource["name"].as_string();
  return name.empty() ? resource["cluster_name"].as_string() : name;
}

void add_refused(const char* kind, const std::string& name, const Json& entry,
                 std::vector<ConfigResource>& out) {
  const Json& error = entry["error_state"];
  if (!error.is_object()) return;
  const std::string refused = name.empty() ? name_of(error["failed_configuration"]) : name;
  out.push_back({kind, refused, "refused", error["version_info"].as_string(),
                 error["last_update_attempt"].as_string(), error["details"].as_string(),
                 error["failed_configuration"]});
}

void add_dynamic_listener(const Json& entry, std::vector<ConfigResource>& out) {
  const std::string& name = entry["name"].as_string();
  for (const char* state : {"active", "warming", "draining"}) {
    const Json& s = entry[std::string(state) + "_state"];
    if (s.is_object())
      out.push_back({"listener", name, state, s["version_info"].as_string(), s["last_updated"].as_string(),
                     "", s["listener"]});
  }
  add_refused("listener", name, entry, out);
}

// The scopes of one connection manager or source; a name is its alone there.
void add_scopes(const Json& entry, const char* state, std::vector<ConfigResource>& out) {
  for (const Json& scope : entry["scoped_route_configs"].items())
    out.push_back({"scope", name_of(scope), state, entry["version_info"].as_string(),
                   entry["last_updated"].as_string(), "", scope});
  add_refused("scope", entry["name"].as_string(), entry, out);
}

class Differ {
 public:
  explicit Differ(std::vector<ConfigChange::Field>& out) : out_(out) {}

  void compare(const std::string& path, const Json& a, const Json& b) {
    if (a.is_object() && b.is_object()) return objects(path, a, b);
    if (a.is_array() && b.is_array()) return arrays(path, a, b);
    if (a.dump() != b.dump()) out_.push_back({path, text(a), text(b)});
  }

 private:
  static std::string text(const Json& j) { return j.is_null() ? "" : j.dump(); }

  void objects(const std::string& path, const Json& a, const Json& b) {
    auto at = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
    for (const auto& [key, value] : a.members()) compare(at(key), value, b[key]);
    for (const auto& [key, value] : b.members())
      if (!a.has(key)) compare(at(key), Json(), value);
  }

  void arrays(const std::string& path, const Json& a, const Json& b) {
    if (auto first = named(a), second = named(b); first && second) {
      for (const auto& [name, value] : *first) {
        auto it = second->find(name);
        compare(path + "[" + name + "]", *value, it == second->end() ? Json() : *it->second);
      }
      for (const auto& [name, value] : *second)
        if (!first->contains(name)) compare(path + "[" + name + "]", Json(), *value);
      return;
    }
    const size_t n = std::max(a.items().size(), b.items().size());
    for (size_t i = 0; i < n; ++i)
      compare(path + "[" + std::to_string(i) + "]", i < a.items().size() ? a.items()[i] : Json(),
              i < b.items().size() ? b.items()[i] : Json());
  }

  // By name, if every element has one of its own.
  static std::optional<std::map<std::string, const Json*>> named(const Json& list) {
    std::map<std::string, const Json*> out;
    for (const Json& item : list.items()) {
      const std::string name = name_of(item);
      if (name.empty() || !out.emplace(name, &item).second) return std::nullopt;
    }
    return out;
  }

  std::vector<ConfigChange::Field>& out_;
};

}  // namespace

Result<std::vector<ConfigResource>> config_resources(const Json& dump) {
  if (!dump["configs"].is_array()) return Error{"this is no /config_dump: there is no \"configs\" in it"};
  std::vector<ConfigResource> out;
  for (const Json& part : dump["configs"].items()) {
    for (const List& list : kLists) {
      for (const Json& entry : part[list.field].items()) {
        const Json& resource = entry[list.resource];
        if (resource.is_object())
          out.push_back({list.kind, name_of(resource), list.state, entry["version_info"].as_string(),
                         entry["last_updated"].as_string(), "", resource});
        add_refused(list.kind, name_of(resource), entry, out);
      }
    }
    for (const Json& entry : part["dynamic_listeners"].items()) add_dynamic_listener(entry, out);
    for (const Json& entry : part["inline_scoped_route_configs"].items()) add_scopes(entry, "static", out);
    for (const Json& entry : part["dynamic_scoped_route_configs"].items()) add_scopes(entry, "active", out);
  }
  return out;
}

std::vector<ConfigChange> config_diff(const std::vector<ConfigResource>& before,
                                      const std::vector<ConfigResource>& after) {
  // The last: a number for those that share a name, in the order of the dump: routes that stand in listeners, scopes of
  // two connection managers.
  using Key = std::tuple<std::string, std::string, size_t>;
  auto serving = [](const std::vector<ConfigResource>& all) {
    std::map<Key, const Json*> out;
    std::map<std::pair<std::string, std::string>, size_t> numbers;
    for (const ConfigResource& r : all)
      if (r.state == "static" || r.state == "active")
        out[{r.kind, r.name, numbers[{r.kind, r.name}]++}] = &r.content;
    return out;
  };
  const auto first = serving(before), second = serving(after);
  std::set<Key> keys;
  for (const auto& [key, content] : first) keys.insert(key);
  for (const auto& [key, content] : second) keys.insert(key);
  std::vector<ConfigChange> out;
  for (const Key& key : keys) {
    ConfigChange change{std::get<0>(key), std::get<1>(key), "changed", {}};
    auto a = first.find(key), b = second.find(key);
    if (a == first.end())
      change.what = "added";
    else if (b == second.end())
      change.what = "removed";
    else
      Differ(change.fields).compare("", *a->second, *b->second);
    if (change.what != "changed" || !change.fields.empty()) out.push_back(std::move(change));
  }
  return out;
}

}  // namespace sluice::ctl
