#pragma once

#include <array>
#include <memory>
#include <string>

#include "sluice/ext/listener_filter.h"

namespace sluice::extensions::proxy_protocol {

struct Settings {
  bool allow_without = false;  // a connection without a header goes on as it is
  bool allow_v1 = true, allow_v2 = true;
  std::string stat_prefix;
  // Where the value of a TLV goes, by its type; null: nowhere.
  struct MetadataKey {
    std::string name_space, key;
  };
  std::array<std::shared_ptr<const MetadataKey>, 256> rules;
};

// envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol: takes the header off the front and puts the addresses
// it names in the place of the connection's own. Statistics: "proxy_proto.[<stat_prefix>.]*", of the process.
ext::ListenerFilterFactory make_factory(std::shared_ptr<const Settings> settings);

}  // namespace sluice::extensions::proxy_protocol
