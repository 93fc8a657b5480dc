#include "extensions/filters/listener/original_dst/original_dst.h"

#include "core/log.h"

namespace sluice::extensions::original_dst {
namespace {

class OriginalDst final : public ext::ListenerFilter {
 public:
  ext::ListenerFilterStatus on_accept(ext::ListenerFilterContext& context) override {
    ext::StreamInfo& info = context.stream_info();
    if (auto destination = context.original_destination()) {
      info.downstream_local = *destination;
      info.local_address_restored = true;
      SLUICE_LOG(filter, debug, "[C{}] original destination {}", info.connection_id,
                 destination->to_string());
    }
    return ext::ListenerFilterStatus::proceed;
  }
};

}  // namespace

ext::ListenerFilterFactory make_factory() {
  return
      [](stats::Scope) -> ext::ListenerFilterMaker { return [] { return std::make_unique<OriginalDst>(); }; };
}

}  // namespace sluice::extensions::original_dst
