#include "extensions/filters/network/echo/echo.h"

namespace sluice::extensions::echo {
namespace {

class Echo final : public ext::NetworkFilter {
 public:
  void init(ext::NetworkFilterContext& context) override { context_ = &context; }

  ext::FilterStatus on_data(Buffer& data, bool end_stream) override {
    context_->stream_info().bytes_received += data.size();
    context_->connection().write(std::move(data), end_stream);
    return ext::FilterStatus::stop;
  }

  // A peer that does not read what it is sent back is not read from either.
  void on_above_high_watermark(ext::Connection& c) override { c.pause_reading(); }
  void on_below_low_watermark(ext::Connection& c) override { c.resume_reading(); }
  void on_sent(ext::Connection&, size_t n) override { context_->stream_info().bytes_sent += n; }

 private:
  ext::NetworkFilterContext* context_ = nullptr;
};

}  // namespace

ext::NetworkFilterFactory make_factory() {
  return [](const ext::NetworkFilterScope&) -> ext::NetworkFilterMaker {
    return [] { return std::make_unique<Echo>(); };
  };
}

}  // namespace sluice::extensions::echo
