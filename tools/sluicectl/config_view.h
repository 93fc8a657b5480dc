#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace sluice::ctl {

// One resource in one state, as /config_dump shows it.
struct ConfigResource {
  std::string kind;  // listener, cluster, route, scope, filter, secret, endpoints, control plane
  std::string name;
  std::string state;  // static, active, warming, draining, refused
  std::string version, updated;
  std::string reason;  // refused: why; what warms: what it waits for
  Json content;
};

// All of a dump. An error: this is no dump.
Result<std::vector<ConfigResource>> config_resources(const Json& dump);

struct ConfigChange {
  std::string kind, name;
  std::string what;  // added, removed, changed
  struct Field {
    std::string path;  // "filter_chains[0].filters[1].typed_config.stat_prefix"
    std::string before, after;  // JSON; "": it is not there
  };
  std::vector<Field> fields;  // changed: where
};

// Of what serves (static and active). Lists whose elements have names are compared by name, others by place.
std::vector<ConfigChange> config_diff(const std::vector<ConfigResource>& before,
                                      const std::vector<ConfigResource>& after);

}  // namespace sluice::ctl
