#include "extensions/filters/listener/original_src/original_src.h"

namespace sluice::extensions::original_src {
namespace {

class OriginalSrc final : public ext::ListenerFilter {
 public:
  explicit OriginalSrc(uint32_t mark) : mark_(mark) {}
  ext::ListenerFilterStatus on_accept(ext::ListenerFilterContext& context) override {
    ext::StreamInfo& info = context.stream_info();
    if (info.downstream_remote.is_ip()) {
      // A new port: with the caller's own, the two connections would share one 4-tuple.
      info.upstream_source = info.downstream_remote.with_port(0);
      info.upstream_mark = mark_;
    }
    return ext::ListenerFilterStatus::proceed;
  }

 private:
  uint32_t mark_;
};

}  // namespace

ext::ListenerFilterFactory make_factory(uint32_t mark) {
  return [mark](stats::Scope) -> ext::ListenerFilterMaker {
    return [mark] { return std::make_unique<OriginalSrc>(mark); };
  };
}

}  // namespace sluice::extensions::original_src
