#include "extensions/filters/http/buffer/buffer.h"

namespace sluice::extensions::buffer {
namespace {

class BufferFilter final : public ext::HttpFilter {
 public:
  explicit BufferFilter(uint32_t max_request_bytes) : max_request_bytes_(max_request_bytes) {}
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(http::HeaderMap&, bool end_stream) override {
    if (end_stream) return ext::HeadersStatus::proceed;
    uint32_t limit = max_request_bytes_;
    if (const auto* route = dynamic_cast<const Settings*>(context_->route_config())) {
      if (route->disabled) return ext::HeadersStatus::proceed;
      limit = route->max_request_bytes;
    }
    buffering_ = true;
    limit_ = limit;
    context_->set_buffer_limit(limit);
    return ext::HeadersStatus::stop;
  }

  ext::DataStatus on_request_data(Buffer& data, bool end_stream) override {
    if (!buffering_) return ext::DataStatus::proceed;
    length_ += data.size();
    // Over the limit the manager answers 413.
    if (!end_stream || length_ > limit_) return ext::DataStatus::stop_and_buffer;
    complete();
    return ext::DataStatus::proceed;
  }

  ext::TrailersStatus on_request_trailers(http::HeaderMap&) override {
    if (buffering_) complete();
    return ext::TrailersStatus::proceed;
  }

 private:
  void complete() {
    http::HeaderMap* headers = context_->request_headers();
    if (headers && !headers->has(http::Name::content_length))
      headers->set_integer(http::Name::content_length, length_);
  }

  const uint32_t max_request_bytes_;
  ext::HttpFilterContext* context_ = nullptr;
  uint32_t limit_ = 0;
  uint64_t length_ = 0;
  bool buffering_ = false;
};

}  // namespace

ext::HttpFilterFactory make_factory(uint32_t max_request_bytes) {
  return [=](const ext::HttpFilterScope&) -> ext::HttpFilterMaker {
    return [=] { return std::make_unique<BufferFilter>(max_request_bytes); };
  };
}

}  // namespace sluice::extensions::buffer
