#include "extensions/filters/network/direct_response/direct_response.h"

#include <memory>

namespace sluice::extensions::direct_response {
namespace {

class DirectResponse final : public ext::NetworkFilter {
 public:
  explicit DirectResponse(std::shared_ptr<const std::string> body) : body_(std::move(body)) {}
  void init(ext::NetworkFilterContext& context) override { context_ = &context; }

  ext::FilterStatus on_new_connection() override {
    Buffer out;
    out.append(context_->loop().blocks(), *body_);
    context_->connection().write(std::move(out), true);
    context_->connection().close(ext::CloseKind::flush, "direct_response");
    return ext::FilterStatus::stop;
  }
  ext::FilterStatus on_data(Buffer& data, bool) override {
    data.clear();
    return ext::FilterStatus::stop;
  }
  void on_sent(ext::Connection&, size_t n) override { context_->stream_info().bytes_sent += n; }

 private:
  std::shared_ptr<const std::string> body_;
  ext::NetworkFilterContext* context_ = nullptr;
};

}  // namespace

ext::NetworkFilterFactory make_factory(std::string body) {
  auto shared = std::make_shared<const std::string>(std::move(body));
  return [shared](const ext::NetworkFilterScope&) -> ext::NetworkFilterMaker {
    return [shared] { return std::make_unique<DirectResponse>(shared); };
  };
}

}  // namespace sluice::extensions::direct_response
