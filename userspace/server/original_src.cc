#include "server/original_src.h"

#include <cerrno>
#include <string>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/filters/listener/original_src/v3/original_src.pb.h"

namespace sluice::server {

Result<bool> uses_original_src(const envoy::config::listener::v3::Listener& listener,
                               uint32_t transparent_mark, const std::string& at) {
  using envoy::extensions::filters::listener::original_src::v3::OriginalSrc;
  bool uses = false;
  for (int f = 0; f < listener.listener_filters_size(); ++f) {
    const auto& any = listener.listener_filters(f).typed_config();
    if (!any.Is<OriginalSrc>()) continue;
    uses = true;
    OriginalSrc filter;
    if (!any.UnpackTo(&filter) || filter.mark() == 0 || filter.mark() == transparent_mark) continue;
    return Error{
        at + "listener_filters[" + std::to_string(f) +
            "].typed_config.mark: " + std::to_string(filter.mark()) +
            " is not supported together with --redirect ebpf, which makes the rules for its own mark (" +
            std::to_string(transparent_mark) + ") in every pod; remove the field",
        EINVAL};
  }
  return uses;
}

Result<bool> uses_original_src(const envoy::config::bootstrap::v3::Bootstrap& bootstrap,
                               uint32_t transparent_mark) {
  bool uses = false;
  const auto& listeners = bootstrap.static_resources().listeners();
  for (int l = 0; l < listeners.size(); ++l) {
    SLUICE_ASSIGN(bool one, uses_original_src(listeners[l], transparent_mark,
                                              "static_resources.listeners[" + std::to_string(l) + "]."));
    uses |= one;
  }
  return uses;
}

}  // namespace sluice::server
