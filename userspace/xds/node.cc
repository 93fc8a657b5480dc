#include "xds/node.h"

#include <charconv>

#include "sluice/ext/registry.h"

namespace sluice::xds {

envoy::config::core::v3::Node make_node(envoy::config::core::v3::Node out, const ext::Registry& registry,
                                        std::string_view version) {
  if (out.user_agent_name().empty()) out.set_user_agent_name("sluice");
  if (out.user_agent_version_type_case() == out.USER_AGENT_VERSION_TYPE_NOT_SET) {
    auto& semantic = *out.mutable_user_agent_build_version()->mutable_version();
    uint32_t parts[3] = {};
    const char* at = version.data();
    const char* end = at + version.size();
    for (uint32_t& part : parts) {
      at = std::from_chars(at, end, part).ptr;
      if (at != end) ++at;
    }
    semantic.set_major_number(parts[0]);
    semantic.set_minor_number(parts[1]);
    semantic.set_patch(parts[2]);
  }
  if (out.extensions().empty()) {
    registry.for_each([&](std::string_view kind, const std::string& name, const std::string& type) {
      auto& extension = *out.add_extensions();
      extension.set_name(name);
      // Envoy's names of the categories.
      extension.set_category(kind == "network_filters"    ? "envoy.filters.network"
                             : kind == "listener_filters" ? "envoy.filters.listener"
                             : kind == "http_filters"     ? "envoy.filters.http"
                             : kind == "access_loggers"   ? "envoy.access_loggers"
                                                          : "envoy." + std::string(kind));
      extension.add_type_urls(type);
    });
  }
  return out;
}

}  // namespace sluice::xds
